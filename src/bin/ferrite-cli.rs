//! The program `ferrite-cli`.

fn main() -> std::process::ExitCode {
    ferrite_server::cli::run()
}
