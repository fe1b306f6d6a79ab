//! How deep an expression nests, before it is read: reading and evaluating recurse, and a thread's stack has an end that
//! nothing can catch. 20 brackets inside each other took 2 MiB of it (unoptimised build).

/// Most brackets inside each other, with the signs and choices that stand before them.
const MAX_DEPTH: usize = 10;
/// Most operators of one expression: a chain of them is a tree as deep as the chain is long.
const MAX_OPERATORS: usize = 64;

/// What is wrong with an expression that nests too deep or is too long a chain; `None` for a good one.
pub(super) fn too_deep(text: &str) -> Option<String> {
    let (mut depth, mut operators, mut leading) = (0_usize, 0_usize, 0_usize);
    let mut deepest = 0;
    let mut quote = None;
    let mut before = ' ';
    for character in text.chars() {
        match quote {
            Some(end) if character == end && before != '\\' => quote = None,
            Some(_) => {}
            None => match character {
                '"' | '\'' => quote = Some(character),
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                // A choice holds the rest of the expression; there is no bracket that ends it.
                '?' => depth += 1,
                '!' | '-' => leading += 1,
                '+' | '*' | '/' | '%' | '<' | '>' | '.' => operators += 1,
                '&' | '|' | '=' if character != before => operators += 1,
                _ => {}
            },
        }
        if !matches!(character, '!' | '-') && !character.is_whitespace() {
            operators += leading;
            leading = 0;
        }
        deepest = deepest.max(depth + leading);
        before = character;
    }
    if deepest > MAX_DEPTH {
        Some(format!(
            "the expression nests deeper than {MAX_DEPTH} brackets; split the rule"
        ))
    } else if operators > MAX_OPERATORS {
        Some(format!(
            "the expression has more than {MAX_OPERATORS} operators; split the rule"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::too_deep;
    use crate::signatures::Expression;

    /// On the stack that a thread has: found by fuzzing.
    #[test]
    fn what_may_be_read_fits_the_stack_and_the_rest_is_refused() {
        let read = || {
            for (before, after) in [
                ("(", ")"),
                ("[", "]"),
                ("!", ""),
                ("-", ""),
                ("true?1:", ""),
                ("1+", ""),
                ("true&&", ""),
                ("a.", ""),
                ("size(", ")"),
                ("-(", ")"),
            ] {
                for depth in [1, 5, 9, 10, 11, 64, 65, 500, 2_000] {
                    let (open, close) = (before.repeat(depth), after.repeat(depth));
                    let text = format!("{open}1{close}");
                    let compiled = Expression::compile(&text);
                    assert!(compiled.is_err() || depth <= 64, "{before} {depth}");
                }
            }
            let chain = "1 + ".repeat(63);
            let whole = format!("{}{chain}1{}", "(".repeat(9), ")".repeat(9));
            assert!(Expression::compile(&whole).is_ok());
        };
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        let thread = thread.spawn(read).expect("a thread");
        thread.join().expect("no panic");
    }

    #[test]
    fn what_stands_in_quotes_does_not_nest() {
        let quoted = format!("'{}' == \"{}\"", "(".repeat(100), "+".repeat(100));
        assert_eq!(too_deep(&quoted), None);
        assert_eq!(too_deep("a && (b || !c) && d == [1, 2]"), None);
        assert!(too_deep(&"(".repeat(11)).is_some());
        assert!(too_deep(&"- ! ".repeat(6)).is_some());
        assert!(too_deep(&"+".repeat(65)).is_some());
    }
}
