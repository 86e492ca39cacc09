//! Generates the Rust code of Sensorium's API, and of google.rpc for its errors, from the folder SENSORIUM_PROTOS.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-env-changed=SENSORIUM_PROTOS");
    let protos =
        PathBuf::from(std::env::var("SENSORIUM_PROTOS").map_err(|_| "SENSORIUM_PROTOS is not set; see README.md")?);
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let files = [
        "sensorium/v1/orchestrator.proto",
        "sensorium/v1/error_reason.proto",
        "google/rpc/error_details.proto",
    ];
    tonic_prost_build::configure()
        .build_server(false)
        .file_descriptor_set_path(out.join("contract.binpb")) // for the driver
        .compile_protos(&files.map(|file| protos.join(file)), &[protos.clone()])?;
    Ok(())
}
