//! A model in several files.

use super::support::{MODEL, Service, ask, starter, until};

/// Reads a GGUF file from its start.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn number<const N: usize>(&mut self) -> [u8; N] {
        let found = self.bytes[self.at..self.at + N].try_into().expect("so many bytes");
        self.at += N;
        found
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.number())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.number())
    }

    fn skip_text(&mut self) {
        self.at += self.u64() as usize;
    }

    fn skip_value(&mut self, kind: u32) {
        match kind {
            0 | 1 | 7 => self.at += 1,
            2 | 3 => self.at += 2,
            4..=6 => self.at += 4,
            8 => self.skip_text(),
            9 => {
                let (kind, count) = (self.u32(), self.u64());
                (0..count).for_each(|_| self.skip_value(kind));
            }
            _ => self.at += 8,
        }
    }
}

/// A tensor: what stands before its offset, and its weights.
struct Tensor {
    entry: Vec<u8>,
    weights: Vec<u8>,
}

fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&(key.len() as u64).to_le_bytes(), key.as_bytes(), &kind.to_le_bytes(), value].concat()
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes
}

/// One part, as llama.cpp's `gguf-split` writes it.
fn part(index: u16, count: u64, metadata: &[u8], all_tensors: usize, tensors: &[Tensor]) -> Vec<u8> {
    let mut file = [&b"GGUF"[..], &3_u32.to_le_bytes(), &(tensors.len() as u64).to_le_bytes(), &(count + 3).to_le_bytes()].concat();
    file.extend(metadata);
    file.extend(entry("split.no", 2, &index.to_le_bytes()));
    file.extend(entry("split.count", 2, &2_u16.to_le_bytes()));
    file.extend(entry("split.tensors.count", 5, &(all_tensors as i32).to_le_bytes()));
    let mut offset = 0_u64;
    for tensor in tensors {
        file.extend(&tensor.entry);
        file.extend(offset.to_le_bytes());
        offset += tensor.weights.len().next_multiple_of(32) as u64;
    }
    tensors.iter().fold(padded(file), |file, tensor| padded([&file[..], &tensor.weights].concat()))
}

/// A model in two parts, the weights shared out between them.
fn in_two_parts(whole: &[u8]) -> [Vec<u8>; 2] {
    let mut reader = Reader { bytes: whole, at: 8 };
    let (tensor_count, count) = (reader.u64() as usize, reader.u64());
    let start = reader.at;
    for _ in 0..count {
        reader.skip_text();
        let kind = reader.u32();
        reader.skip_value(kind);
    }
    let metadata = &whole[start..reader.at];
    let mut entries = Vec::new();
    for _ in 0..tensor_count {
        let from = reader.at;
        reader.skip_text();
        let rank = reader.u32() as usize;
        reader.at += rank * 8 + 4;
        entries.push((whole[from..reader.at].to_vec(), reader.u64() as usize));
    }
    let data = &whole[reader.at.next_multiple_of(32)..];
    let ends: Vec<usize> = entries.iter().skip(1).map(|(_, offset)| *offset).chain([data.len()]).collect();
    let tensor = |((entry, from), to): ((Vec<u8>, usize), usize)| Tensor { entry, weights: data[from..to].to_vec() };
    let tensors: Vec<Tensor> = entries.into_iter().zip(ends).map(tensor).collect();
    let (first, second) = tensors.split_at(tensor_count / 2);
    [part(0, count, metadata, tensor_count, first), part(1, 0, &[], tensor_count, second)]
}

#[test]
fn a_model_in_two_files_is_served_before_and_after_a_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = [1, 2].map(|number| format!("half-{number:05}-of-00002.gguf"));
    let whole = std::fs::read(starter()).expect("the starter model");
    for (name, part) in names.iter().zip(in_two_parts(&whole)) {
        std::fs::write(folder.path().join(name), part).expect("written");
    }
    let service = Service::start(&[]);
    service.cli(&["model", "add", folder.path().join(&names[0]).to_str().expect("UTF-8"), "--name", MODEL]);
    drop(folder);
    let text = |service: &Service| {
        let (status, answer) = service.post(&service.key, "/v1/chat/completions", &ask("Say hello.", 8));
        assert_eq!(status, 200, "{answer}");
        answer["choices"][0]["message"]["content"].clone()
    };
    let before = text(&service);
    service.signal("TERM");
    let (data, _) = service.wait();
    let service = Service::start_on(data, &[]);
    for name in &names {
        assert!(service.data.path().join("models").join(MODEL).join(name).is_file(), "{name}");
    }
    assert_eq!(text(&service), before);
    until("it is loaded", || (service.workers().first()?["state"] == "ready").then_some(()));
}
