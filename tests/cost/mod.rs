//! What a request costs. Only counts are asserted; `bench/` measures times.

mod counts;
