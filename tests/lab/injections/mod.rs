//! Each injection gives the picture that it claims, seen with the node's own tools; and its release takes it away.

mod bus;
