//! Compiles the door through which llama.cpp finds our kernels (`native/tiles.cpp`), where the processor has what they need.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// What `src/engine/tiles.rs` is written for.
const FEATURES: [&str; 3] = ["avx2", "f16c", "fma"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=native");
    println!("cargo::rustc-check-cfg=cfg(tiles)");
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("x86_64") {
        return;
    }
    if !FEATURES.iter().all(|wanted| features.split(',').any(|feature| feature == *wanted)) {
        return;
    }
    match sources() {
        Ok(sources) => compile(&sources),
        Err(fault) => println!("cargo::error={fault}"),
    }
}

/// Where the sources of the llama.cpp that is linked are: its private headers must be those it was compiled with.
fn sources() -> Result<PathBuf, String> {
    let directory = env::var("DEP_LLAMA_GGML_CMAKE_DIR").map_err(|_| "llama-cpp-sys-2 does not say where it built ggml".to_owned())?;
    let out = Path::new(&directory).ancestors().nth(2).ok_or("llama-cpp-sys-2 built ggml nowhere")?;
    let cache = out.join("build/CMakeCache.txt");
    let text = fs::read_to_string(&cache).map_err(|error| format!("cannot read {}: {error}", cache.display()))?;
    let home = text.lines().find_map(|line| line.strip_prefix("CMAKE_HOME_DIRECTORY:INTERNAL="));
    home.map(PathBuf::from).ok_or_else(|| format!("{} does not say where the sources are", cache.display()))
}

fn compile(sources: &Path) {
    let ggml = sources.join("ggml");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(ggml.join("include"))
        .include(ggml.join("src"))
        .include(ggml.join("src/ggml-cpu"))
        .file("native/tiles.cpp")
        .compile("freehold_tiles");
    println!("cargo::rustc-cfg=tiles");
}
