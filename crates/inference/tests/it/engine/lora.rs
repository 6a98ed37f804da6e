//! A LoRA adapter of the starter model, made here as a real GGUF file.

use std::path::Path;

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A rank-1 adapter of the first layers' attention queries that adds so much.
pub fn write_adapter(path: &Path, strength: f32) {
    const WIDTH: u64 = 576;
    let mut out = b"GGUF".to_vec();
    let layers = 8_u64;
    out.extend(3_u32.to_le_bytes());
    out.extend((layers * 2).to_le_bytes());
    out.extend(4_u64.to_le_bytes());
    for (key, value) in [("general.architecture", "llama"), ("general.type", "adapter"), ("adapter.type", "lora")] {
        text(&mut out, key);
        out.extend(8_u32.to_le_bytes());
        text(&mut out, value);
    }
    text(&mut out, "adapter.lora.alpha");
    out.extend(6_u32.to_le_bytes());
    out.extend(1.0_f32.to_le_bytes());
    let mut offset = 0_u64;
    for layer in 0..layers {
        for (part, shape) in [("lora_a", [WIDTH, 1]), ("lora_b", [1, WIDTH])] {
            text(&mut out, &format!("blk.{layer}.attn_q.weight.{part}"));
            out.extend(2_u32.to_le_bytes());
            out.extend(shape[0].to_le_bytes());
            out.extend(shape[1].to_le_bytes());
            out.extend(0_u32.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += WIDTH * 4;
        }
    }
    out.resize(out.len().next_multiple_of(32), 0);
    for number in 0..layers * 2 * WIDTH {
        let value = strength * ((number * 7919 % 200) as f32 / 100.0 - 1.0);
        out.extend(value.to_le_bytes());
    }
    std::fs::write(path, out).expect("the folder can be written");
}
