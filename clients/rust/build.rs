//! Generates the code of the contract.

use std::io::Result;

fn main() -> Result<()> {
    let protos = "../../protos";
    let files = ["blobs", "runs"].map(|name| format!("{}/runs/v1/{}.proto", protos, name));
    println!("cargo:rerun-if-changed={}", protos);
    // The comments of the contract are no documentation in Rust's form: their examples would be tests.
    prost_build::Config::new().disable_comments(["."]).compile_protos(&files, &[protos])
}
