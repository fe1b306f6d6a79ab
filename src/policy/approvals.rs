//! Approvals by annotation: each is for one run of a case that was open when it was given. Pure.

use super::facts::OptIn;
use super::terms::CaseId;
use std::collections::BTreeSet;

/// What is known of a case that a person approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approved {
    /// It is open and had no run.
    Fresh,
    /// It is open and had runs.
    HadRuns,
    /// It is not open: ended, another node's, or not there yet.
    NotOpen,
}

/// The approvals that an annotation lists, and those of them that count no more.
#[derive(Debug, Clone, Default)]
pub struct Approvals {
    listed: Option<Vec<CaseId>>,
    spent: BTreeSet<CaseId>,
}

impl Approvals {
    /// A run of this case used its approval up: until the annotation changes, the case is not approved again.
    pub fn spend(&mut self, case: CaseId) {
        self.spent.insert(case);
    }

    /// The settings without the approvals that are used up.
    pub fn standing(&self, mut opt_in: OptIn) -> OptIn {
        opt_in.approved.retain(|case| !self.spent.contains(case));
        opt_in
    }

    /// Takes what the annotation lists now; which cases were approved since the time before. An approval of a case that is
    /// not open says nothing, also not later: numbers begin anew where a node lost its disk.
    pub fn meet(&mut self, listed: &[CaseId], known: impl Fn(CaseId) -> Approved) -> Vec<CaseId> {
        self.spent.retain(|case| listed.contains(case));
        let before = self.listed.replace(listed.to_vec());
        let new = listed
            .iter()
            .copied()
            .filter(|case| before.as_ref().is_none_or(|before| !before.contains(case)));
        let mut fresh = Vec::new();
        for case in new {
            match (known(case), &before) {
                (Approved::Fresh, _) | (Approved::HadRuns, Some(_)) => fresh.push(case),
                // After a start nobody knows how old an approval is: a case that had a run had its approval used up.
                (Approved::HadRuns, None) | (Approved::NotOpen, _) => {
                    self.spent.insert(case);
                }
            }
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: CaseId = CaseId(1);
    const B: CaseId = CaseId(2);

    fn standing(approvals: &Approvals, listed: &[CaseId]) -> Vec<CaseId> {
        let opt_in = OptIn {
            approved: listed.to_vec(),
            ..OptIn::default()
        };
        approvals.standing(opt_in).approved
    }

    #[test]
    fn an_approval_is_for_one_run_until_the_annotation_changes() {
        let mut approvals = Approvals::default();
        assert!(approvals.meet(&[], |_| Approved::Fresh).is_empty());
        assert_eq!(approvals.meet(&[A], |_| Approved::Fresh), [A]);
        assert_eq!(standing(&approvals, &[A]), [A]);
        approvals.spend(A);
        assert!(approvals.meet(&[A], |_| Approved::HadRuns).is_empty());
        assert!(standing(&approvals, &[A]).is_empty(), "it was used up");
        assert!(approvals.meet(&[], |_| Approved::HadRuns).is_empty());
        assert_eq!(approvals.meet(&[A], |_| Approved::HadRuns), [A]);
        assert_eq!(standing(&approvals, &[A]), [A], "it was given again");
    }

    #[test]
    fn after_a_start_only_a_case_without_runs_is_approved() {
        for (known, fresh) in [
            (Approved::Fresh, true),
            (Approved::HadRuns, false),
            (Approved::NotOpen, false),
        ] {
            let mut approvals = Approvals::default();
            assert_eq!(approvals.meet(&[A], |_| known).contains(&A), fresh);
            assert_eq!(standing(&approvals, &[A]).contains(&A), fresh, "{known:?}");
        }
    }

    #[test]
    fn an_approval_in_advance_or_for_another_case_says_nothing() {
        let mut approvals = Approvals::default();
        let open = |case| {
            if case == A {
                Approved::Fresh
            } else {
                Approved::NotOpen
            }
        };
        approvals.meet(&[], open);
        assert_eq!(approvals.meet(&[A, B], open), [A]);
        // B opens: what was said before it was there was not said of it.
        assert!(approvals.meet(&[A, B], |_| Approved::Fresh).is_empty());
        assert_eq!(standing(&approvals, &[A, B]), [A]);
    }
}
