//! Writes small GGUF files, right ones and wrong ones.

/// A file in the making. Numbers that the format demands are filled in from what was added, unless set.
#[derive(Clone)]
pub struct GgufWriter {
    pub version: u32,
    pub metadata: Vec<(String, Vec<u8>)>,
    pub tensors: Vec<Tensor>,
    pub tensor_count: Option<u64>,
    pub metadata_count: Option<u64>,
    pub alignment: usize,
    pub data_cut: usize,
}

#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<u64>,
    pub kind: u32,
    pub offset: Option<u64>,
    pub bytes: usize,
}

pub fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

pub fn typed(kind: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(value);
    bytes
}

impl GgufWriter {
    pub fn empty() -> Self {
        Self { version: 3, metadata: Vec::new(), tensors: Vec::new(), tensor_count: None, metadata_count: None, alignment: 32, data_cut: 0 }
    }

    /// A tiny model of architecture `llama`.
    pub fn tiny() -> Self {
        Self::empty()
            .text("general.architecture", "llama")
            .text("general.name", "Tiny")
            .text("general.license", "apache-2.0")
            .u32("general.file_type", 7)
            .u32("llama.context_length", 128)
            .u32("llama.embedding_length", 64)
            .u32("llama.block_count", 2)
            .u32("llama.attention.head_count", 4)
            .u32("llama.attention.head_count_kv", 2)
            .texts("tokenizer.ggml.tokens", &["<s>", "</s>", "a", "b"])
            .text("tokenizer.chat_template", "{{ messages }}")
            .tensor("token_embd.weight", &[64, 4], 8, 4 * 2 * 34)
            .tensor("output_norm.weight", &[64], 0, 64 * 4)
            .tensor("blk.0.attn_q.weight", &[64, 64], 8, 64 * 2 * 34)
    }

    pub fn value(mut self, key: &str, typed: Vec<u8>) -> Self {
        self.metadata.push((key.to_owned(), typed));
        self
    }

    pub fn text(self, key: &str, value: &str) -> Self {
        self.value(key, typed(8, &text(value)))
    }

    pub fn u32(self, key: &str, value: u32) -> Self {
        self.value(key, typed(4, &value.to_le_bytes()))
    }

    pub fn u16(self, key: &str, value: u16) -> Self {
        self.value(key, typed(2, &value.to_le_bytes()))
    }

    pub fn f32(self, key: &str, value: f32) -> Self {
        self.value(key, typed(6, &value.to_le_bytes()))
    }

    pub fn texts(self, key: &str, values: &[&str]) -> Self {
        let mut bytes = 8_u32.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| bytes.extend(text(value)));
        self.value(key, typed(9, &bytes))
    }

    pub fn u32s(self, key: &str, values: &[u32]) -> Self {
        let mut bytes = 4_u32.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        self.value(key, typed(9, &bytes))
    }

    pub fn without(mut self, key: &str) -> Self {
        self.metadata.retain(|(name, _)| name != key);
        self
    }

    pub fn tensor(mut self, name: &str, shape: &[u64], kind: u32, bytes: usize) -> Self {
        self.tensors.push(Tensor { name: name.to_owned(), shape: shape.to_vec(), kind, offset: None, bytes });
        self
    }

    pub fn header(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        file.extend(self.metadata_count.unwrap_or(self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            file.extend(text(key));
            file.extend(value);
        }
        let mut offset = 0;
        for tensor in &self.tensors {
            file.extend(text(&tensor.name));
            file.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor.shape.iter().for_each(|extent| file.extend(extent.to_le_bytes()));
            file.extend(tensor.kind.to_le_bytes());
            file.extend(tensor.offset.unwrap_or(offset).to_le_bytes());
            offset += tensor.bytes.next_multiple_of(self.alignment) as u64;
        }
        file
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut file = self.header();
        for tensor in &self.tensors {
            file.resize(file.len().next_multiple_of(self.alignment), 0);
            file.resize(file.len() + tensor.bytes, 0x5a);
        }
        file.truncate(file.len() - self.data_cut);
        file
    }
}
