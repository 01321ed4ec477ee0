//! Makes the messages of the gRPC protocol from `proto/`, without protoc.

use std::error::Error;
use std::path::Path;

use prost::Message;

const ROOT: &str = "../../proto";
const FILES: [&str; 2] = ["apache/rocketmq/v2/definition.proto", "apache/rocketmq/v2/service.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={ROOT}/{file}");
    }
    let descriptors = protox::compile(FILES, [ROOT])?;
    let out = std::env::var("OUT_DIR")?;
    // Without the comments: whoever asks for the protocol by reflection needs names and numbers.
    let mut bare = descriptors.clone();
    bare.file.iter_mut().for_each(|file| file.source_code_info = None);
    std::fs::write(Path::new(&out).join("descriptors.bin"), bare.encode_to_vec())?;
    prost_build::Config::new()
        .bytes([".apache.rocketmq.v2.Message.body"])
        // Few entries each; and whoever lists them sees the same order every time.
        .btree_map(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
