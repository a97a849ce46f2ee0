//! A node under control: discover, compile, plan, apply.
