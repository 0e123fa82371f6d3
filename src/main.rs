//! Thin binary: everything is in the library.

fn main() -> std::process::ExitCode {
    bounced::cli::main()
}
