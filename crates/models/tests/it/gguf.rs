use std::io::Cursor;

use freehold_models::gguf::{self, HeadCount, Split, Value, read_header, summarise, summarise_reader};
use freehold_models::{GgufError, GgufSummary};
use proptest::prelude::*;

use crate::support::gguf_writer::{GgufWriter, text, typed};
use crate::support::starter_gguf;

fn summary(writer: &GgufWriter) -> GgufSummary {
    summarise_reader(Cursor::new(writer.bytes())).expect("a good file")
}

/// Reads a wrong file; the message must have all `parts`.
fn check_refused(bytes: Vec<u8>, parts: &[&str]) {
    let error = summarise_reader(Cursor::new(bytes)).expect_err(parts[0]).to_string();
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn the_starter_model() {
    let found = summarise(&starter_gguf()).expect("the starter model");
    assert_eq!(found.architecture, "llama");
    assert_eq!(found.name.as_deref(), Some("Smollm2 135M 8k Lc100K Mix1 Ep2"));
    assert_eq!(found.licence.as_deref(), Some("apache-2.0"));
    assert_eq!(found.size_label.as_deref(), Some("135M"));
    assert_eq!(found.parameter_count, 134_515_008);
    assert_eq!(found.quantization, "Q4_1");
    assert_eq!(found.tensor_types.iter().map(|count| count.tensors).sum::<u64>(), 272);
    assert_eq!(found.tensor_types[0].name, "Q4_1");
    assert_eq!(found.context_length, Some(8192));
    assert_eq!(found.vocabulary_size, Some(49_152));
    assert_eq!(found.block_count, Some(30));
    assert_eq!(found.head_count, Some(HeadCount::Uniform(9)));
    assert_eq!(found.head_count_kv, Some(HeadCount::Uniform(3)));
    assert_eq!(found.embedding_length, Some(576));
    assert_eq!(found.kv_bytes_per_token, Some(30 * 3 * 64 * 2 * 2));
    assert_eq!(found.file_bytes, 98_362_432);
    assert_eq!(found.tensor_data_bytes, 98_362_432 - 1_785_664);
    assert!(found.chat_template.is_some_and(|template| template.contains("<|im_start|>")));
    assert_eq!((found.adapter, found.split), (None, None));
}

#[test]
fn a_tiny_model_in_both_versions() {
    for version in [2, 3] {
        let found = summary(&GgufWriter { version, ..GgufWriter::tiny() });
        assert_eq!(found.gguf_version, version);
        assert_eq!(found.parameter_count, 64 * 4 + 64 + 64 * 64);
        assert_eq!(found.quantization, "Q8_0");
        assert_eq!(found.vocabulary_size, Some(4));
        assert_eq!(found.kv_bytes_per_token, Some(2 * 2 * (16 + 16) * 2));
        assert_eq!(found.chat_template.as_deref(), Some("{{ messages }}"));
    }
}

#[test]
fn unusual_but_right() {
    let per_layer = GgufWriter::tiny().without("llama.attention.head_count_kv");
    let found = summary(&per_layer.clone().u32s("llama.attention.head_count_kv", &[2, 4]));
    assert_eq!(found.head_count_kv, Some(HeadCount::PerLayer(vec![2, 4])));
    assert_eq!(found.kv_bytes_per_token, Some((2 + 4) * 32 * 2));
    assert_eq!(summary(&per_layer).head_count_kv, Some(HeadCount::Uniform(4)), "without its own number: as many as heads");

    let guessed = summary(&GgufWriter::tiny().without("general.file_type").u32("general.file_type", 999));
    assert_eq!(guessed.quantization, "Q8_0", "an unknown file type: the type with most bytes");

    let aligned = GgufWriter { alignment: 4096, ..GgufWriter::tiny().u32("general.alignment", 4096) };
    assert_eq!(summary(&aligned).parameter_count, 4416);

    let named = GgufWriter::tiny().without("general.license").text("general.license", "other");
    let named = summary(&named.text("general.license.name", "llama3.1").text("general.base_model.0.name", "Base"));
    assert_eq!((named.licence.as_deref(), named.base_model.as_deref()), (Some("llama3.1"), Some("Base")));

    let tricky = summary(&GgufWriter::tiny().without("general.name").text("general.name", "a\u{1b}[2Jb\nc"));
    assert_eq!(tricky.name.as_deref(), Some("a [2Jb c"), "no control characters reach a terminal");

    let long = "x".repeat(5 << 20);
    let header = read_header(Cursor::new(GgufWriter::tiny().text("long", &long).bytes())).expect("a long text");
    assert_eq!(header.metadata["long"], Value::Opaque { bytes: 5 << 20 });
}

#[test]
fn an_adapter() {
    let writer = GgufWriter::empty()
        .text("general.architecture", "llama")
        .text("general.type", "adapter")
        .text("adapter.type", "lora")
        .text("general.base_model.0.name", "Llama 3.1 8B")
        .text("general.base_model.0.organization", "Meta Llama")
        .f32("adapter.lora.alpha", 16.0)
        .tensor("blk.0.attn_q.weight.lora_a", &[64, 8], 0, 64 * 8 * 4)
        .tensor("blk.0.attn_q.weight.lora_b", &[8, 64], 0, 64 * 8 * 4);
    let found = summary(&writer);
    let adapter = found.adapter.expect("an adapter");
    assert_eq!((adapter.kind.as_str(), adapter.rank, adapter.alpha), ("lora", Some(8), Some(16.0)));
    assert_eq!(found.base_model.as_deref(), Some("Meta Llama/Llama 3.1 8B"));
    let other = writer.without("adapter.type").text("adapter.type", "ia3");
    check_refused(other.bytes(), &["adapter.type", "ia3"]);
}

#[test]
fn other_files_are_named() {
    check_refused(Vec::new(), &["not a GGUF file", "empty"]);
    check_refused(b"PK\x03\x04....".to_vec(), &["ZIP"]);
    check_refused(b"version https://git-lfs.github.com/spec/v1".to_vec(), &["LFS pointer"]);
    check_refused(b"<!DOCTYPE html>".to_vec(), &["web page"]);
    check_refused(b"\x10\x00\x00\x00\x00\x00\x00\x00{\"a\":1}".to_vec(), &["safetensors"]);
    check_refused(vec![0; 64], &["zeros"]);
    check_refused(b"tjgg....".to_vec(), &["older ggml"]);
    check_refused(b"hello".to_vec(), &["does not start with `GGUF`"]);
    check_refused(b"GG".to_vec(), &["does not start with `GGUF`"]);
    check_refused(b"GGUF\x00\x00\x00\x03........".to_vec(), &["big-endian"]);
    check_refused(GgufWriter { version: 1, ..GgufWriter::tiny() }.bytes(), &["version 1"]);
    check_refused(GgufWriter { version: 4, ..GgufWriter::tiny() }.bytes(), &["version 4"]);
    let missing = summarise(std::path::Path::new("/nowhere/x.gguf")).expect_err("no file");
    assert!(matches!(missing, GgufError::Open { .. }), "{missing}");
    let folder = tempfile::tempdir().expect("a folder");
    assert!(summarise(folder.path()).expect_err("a folder").to_string().contains("not a regular file"));
}

#[test]
fn every_truncation_is_refused() {
    let whole = GgufWriter::tiny().bytes();
    for length in 0..whole.len() {
        let error = summarise_reader(Cursor::new(&whole[..length])).expect_err("a truncated file");
        let is_named = matches!(error, GgufError::Truncated { .. } | GgufError::NotGguf { .. });
        assert!(is_named, "at {length}: {error}");
    }
    check_refused(GgufWriter { data_cut: 1, ..GgufWriter::tiny() }.bytes(), &["truncated", "blk.0.attn_q.weight"]);
}

#[test]
fn hostile_numbers_are_refused() {
    let tiny = GgufWriter::tiny;
    let huge = u64::MAX.to_le_bytes();
    check_refused(GgufWriter { tensor_count: Some(u64::MAX), ..tiny() }.bytes(), &["number of tensors"]);
    check_refused(GgufWriter { tensor_count: Some(60_000), ..tiny() }.bytes(), &["truncated", "number of tensors"]);
    check_refused(GgufWriter { metadata_count: Some(1 << 40), ..tiny() }.bytes(), &["metadata entries"]);
    check_refused(GgufWriter { metadata_count: Some(50_000), ..tiny() }.bytes(), &["metadata entries"]);
    check_refused(tiny().value("x", typed(8, &huge)).bytes(), &["truncated", "`x`"]);
    let array = |element: u32, count: u64| {
        let mut bytes = element.to_le_bytes().to_vec();
        bytes.extend(count.to_le_bytes());
        typed(9, &bytes)
    };
    check_refused(tiny().value("x", array(4, u64::MAX)).bytes(), &["`x`"]);
    check_refused(tiny().value("x", array(4, 1 << 40)).bytes(), &["truncated", "`x`"]);
    check_refused(tiny().value("x", array(8, u64::MAX)).bytes(), &["`x`"]);
    check_refused(tiny().value("x", array(8, 1 << 30)).bytes(), &["truncated", "`x`"]);
    check_refused(tiny().value("x", array(9, 1)).bytes(), &["array of arrays"]);
    check_refused(tiny().value("x", typed(13, &[])).bytes(), &["unknown type 13"]);
    check_refused(tiny().value("x", typed(7, &[2])).bytes(), &["neither true"]);
    check_refused(tiny().u32("general.name2", 1).u32("general.name2", 1).bytes(), &["twice"]);
    check_refused(tiny().u32("", 1).bytes(), &["no key"]);
    check_refused(tiny().u32(&"k".repeat(70_000), 1).bytes(), &["length of the key"]);
    check_refused(tiny().u32("general.alignment", 48).bytes(), &["general.alignment", "48"]);
    check_refused(tiny().u32("general.alignment", 0).bytes(), &["general.alignment"]);
    check_refused(tiny().text("general.alignment", "32").bytes(), &["general.alignment"]);
}

#[test]
fn hostile_tensors_are_refused() {
    let tiny = GgufWriter::tiny;
    let with = |name: &str, shape: &[u64], kind: u32| tiny().tensor(name, shape, kind, 0).bytes();
    check_refused(with("t", &[], 0), &["0 dimensions"]);
    check_refused(with("t", &[1, 1, 1, 1, 1], 0), &["5 dimensions"]);
    check_refused(with("t", &[u64::MAX, u64::MAX], 0), &["impossible shape"]);
    check_refused(with("t", &[1 << 62, 2], 0), &["impossible shape"]);
    check_refused(with("t", &[0], 0), &["impossible shape"]);
    check_refused(with("t", &[33], 2), &["multiple of Q4_0 blocks"]);
    check_refused(with("t", &[1], 99), &["unknown type 99"]);
    check_refused(with("t", &[32], 31), &["no longer reads"]);
    check_refused(with("output_norm.weight", &[1], 0), &["twice"]);
    check_refused(with(&"n".repeat(64), &[1], 0), &["length of the name"]);
    check_refused(with("t", &[1 << 40], 0), &["truncated", "tensor `t`"]);
    let mut moved = tiny();
    moved.tensors[1].offset = Some(64);
    check_refused(moved.bytes(), &["output_norm.weight", "said to start at 64"]);
    moved.tensors[1].offset = Some(0);
    check_refused(moved.bytes(), &["output_norm.weight", "said to start at 0"]);
    check_refused(GgufWriter::empty().text("general.name", "x").bytes(), &["general.architecture", "missing"]);
    check_refused(tiny().without("llama.context_length").text("llama.context_length", "x").bytes(), &["context_length"]);
    let negative = typed(5, &(-1_i32).to_le_bytes());
    check_refused(tiny().without("llama.block_count").value("llama.block_count", negative).bytes(), &["below zero"]);
    let not_text = typed(8, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff]);
    let bad_template = tiny().without("tokenizer.chat_template").value("tokenizer.chat_template", not_text);
    check_refused(bad_template.bytes(), &["chat_template", "not UTF-8"]);
}

#[test]
fn metadata_that_is_not_kept_costs_no_memory() {
    let text_of_4_mib = typed(8, &text(&"x".repeat(4 << 20)));
    let mut writer = GgufWriter::tiny();
    for index in 0..6 {
        writer = writer.value(&format!("k{index}"), text_of_4_mib.clone());
    }
    let header = read_header(Cursor::new(writer.bytes())).expect("a file with long texts");
    let kept: usize = header.metadata.values().map(|value| if let Value::Text(text) = value { text.len() } else { 0 }).sum();
    assert!(kept <= gguf::KEPT_BYTES_MAX, "{kept}");
}

#[test]
fn a_model_in_parts() {
    let folder = tempfile::tempdir().expect("a folder");
    let part = |index: u16, count: u16, writer: GgufWriter| {
        let writer = writer.u16("split.no", index).u16("split.count", count);
        let path = folder.path().join(format!("m-{:05}-of-{count:05}.gguf", index + 1));
        std::fs::write(&path, writer.bytes()).expect("a part");
        path
    };
    let second = || GgufWriter::empty().tensor("blk.1.attn_q.weight", &[64, 64], 8, 64 * 2 * 34);
    let first_path = part(0, 2, GgufWriter::tiny());
    let missing = summarise(&first_path).expect_err("a part is missing").to_string();
    assert!(missing.contains("m-00002-of-00002.gguf") && missing.contains("all parts"), "{missing}");

    let second_path = part(1, 2, second());
    let found = summarise(&first_path).expect("both parts");
    assert_eq!(found.parameter_count, 4416 + 4096);
    assert_eq!(found.split, Some(Split { index: 0, count: 2 }));
    let length = |path: &std::path::Path| std::fs::metadata(path).expect("a part").len();
    assert_eq!(found.file_bytes, length(&first_path) + length(&second_path));
    assert_eq!(found.tensor_types.iter().map(|count| count.tensors).sum::<u64>(), 4);

    let named = summarise(&second_path).expect_err("the second part").to_string();
    assert!(named.contains("part 2") && named.contains("m-00001-of-00002.gguf"), "{named}");

    part(0, 3, second());
    std::fs::copy(folder.path().join("m-00001-of-00003.gguf"), &second_path).expect("a wrong part");
    assert!(summarise(&first_path).expect_err("a wrong part").to_string().contains("another part"));
    let odd = folder.path().join("odd.gguf");
    std::fs::copy(&first_path, &odd).expect("a copy");
    assert!(summarise(&odd).expect_err("a wrong name").to_string().contains("not named"));
    check_refused(GgufWriter::tiny().u16("split.no", 2).u16("split.count", 2).bytes(), &["split.no"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever bytes are changed, cut out or put in, the answer is a summary or an error, never a panic.
    #[test]
    fn mutations_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..6), 1..6),
    ) {
        let mut file = GgufWriter::tiny().u32s("llama.rope.sections", &[1, 2, 3]).bytes();
        let header_bytes = GgufWriter::tiny().header().len();
        for (at, byte, kind) in changes {
            if file.is_empty() {
                break;
            }
            let at = at.index(header_bytes.min(file.len()));
            match kind {
                0 => file[at] = byte,
                1 => file[at] ^= 1 << (byte % 8),
                2 => { file.remove(at); }
                3 => file.insert(at, byte),
                4 => file.truncate(at),
                _ => {
                    let end = (at + 8).min(file.len());
                    file[at..end].fill(if byte > 127 { 0xff } else { 0x7f });
                }
            }
        }
        if let Ok(found) = summarise_reader(Cursor::new(&file)) {
            prop_assert!(found.tensor_data_bytes <= found.file_bytes);
        }
    }
}
