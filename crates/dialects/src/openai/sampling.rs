//! Fields that chat completions and completions share: how tokens are chosen, and what is ignored or refused.

use std::collections::BTreeMap;

use freehold_domain::Error;
use serde_json::{Map, Value, json};

use crate::canonical::{ResponseFormat, Sampling};
use crate::shape::body::{Bounds, Fields, not_one_of, quoted, unsupported, wrong_type};
use crate::shape::format::decode_schema;
use crate::shape::write::number;

/// Most answers that one request may ask for.
pub const CHOICES_PER_REQUEST_MAX: u32 = 16;
/// Most answers that OpenAI allows.
const N_MAX: u32 = 128;
const STOPS_MAX: usize = 16;
const STOP_CHARS_MAX: usize = 1024;
const BIASES_MAX: usize = 1024;
pub(super) const MODEL_CHARS_MAX: usize = 256;
const SALT_CHARS_MAX: usize = 256;
const STREAM_OPTIONS: &str = "stream_options";
const RUNNING_USAGE: &str = "continuous_usage_stats";
const USER_CHARS_MAX: usize = 1024;
/// Most alternatives that are reported for a token.
pub(super) const TOP_LOGPROBS_MAX: u32 = 20;

/// Fields that the service sends to its workers and that clients may not send. Named as vLLM names them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Extensions {
    /// Requests share cached prefixes only with requests of the same salt: 1 to 256 characters.
    pub cache_salt: Option<String>,
    /// Every chunk of a stream says how many tokens were used so far (vLLM's `continuous_usage_stats`).
    pub running_usage: bool,
}

impl Extensions {
    pub(super) fn decode(fields: &mut Fields) -> Result<Self, Error> {
        let running_usage = fields.has_flag(STREAM_OPTIONS, RUNNING_USAGE);
        Ok(Self { cache_salt: fields.short_string("cache_salt", SALT_CHARS_MAX)?, running_usage })
    }

    pub(super) fn encode(&self, body: &mut Map<String, Value>) {
        if let Some(salt) = &self.cache_salt {
            body.insert("cache_salt".into(), json!(salt));
        }
        if self.running_usage
            && let Value::Object(options) = body.entry(STREAM_OPTIONS).or_insert_with(|| json!({}))
        {
            options.insert(RUNNING_USAGE.into(), json!(true));
        }
    }
}

pub(super) fn decode_model(fields: &mut Fields) -> Result<String, Error> {
    fields.short_string("model", MODEL_CHARS_MAX)?.ok_or_else(|| crate::shape::body::missing("model"))
}

pub(super) fn decode_user(fields: &mut Fields) -> Result<Option<String>, Error> {
    let user = fields.string("user")?;
    match &user {
        Some(name) if name.chars().nth(USER_CHARS_MAX).is_some() => {
            Err(Error::invalid("user", format!("`user` must have at most {USER_CHARS_MAX} characters.")))
        }
        _ => Ok(user),
    }
}

/// The fields that chat completions and completions have; `max_tokens` and `logprobs` are left to the caller.
pub(super) fn decode(fields: &mut Fields) -> Result<Sampling, Error> {
    Ok(Sampling {
        presence_penalty: fields.number("presence_penalty", Bounds::closed(-2.0, 2.0))?,
        frequency_penalty: fields.number("frequency_penalty", Bounds::closed(-2.0, 2.0))?,
        logit_bias: decode_bias(fields)?,
        stop: decode_stop(fields)?,
        n: decode_n(fields)?,
        ..decode_core(fields)?
    })
}

/// The fields that responses have too.
pub(super) fn decode_core(fields: &mut Fields) -> Result<Sampling, Error> {
    Ok(Sampling {
        temperature: fields.number("temperature", Bounds::closed(0.0, 2.0))?,
        top_p: fields.number("top_p", Bounds::over(0.0, 1.0))?,
        top_k: fields.integer("top_k", -1, i64::from(u32::MAX))?.map(|top_k| u32::try_from(top_k).unwrap_or(0)),
        min_p: fields.number("min_p", Bounds::closed(0.0, 1.0))?,
        repetition_penalty: fields.number("repetition_penalty", Bounds::over(0.0, 2.0))?,
        seed: decode_seed(fields)?,
        n: 1,
        ..Sampling::default()
    })
}

fn decode_seed(fields: &mut Fields) -> Result<Option<u64>, Error> {
    let Some(value) = fields.take("seed") else { return Ok(None) };
    let seed = value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned));
    seed.map(Some).ok_or_else(|| wrong_type("seed", "a whole number of 64 bits", &value))
}

fn decode_n(fields: &mut Fields) -> Result<u32, Error> {
    match fields.count("n", 1, N_MAX)? {
        Some(n) if n > CHOICES_PER_REQUEST_MAX => {
            Err(unsupported("n", format!("`n` is {n}, but this service makes at most {CHOICES_PER_REQUEST_MAX} answers to a request.")))
        }
        n => Ok(n.unwrap_or(1)),
    }
}

fn decode_stop(fields: &mut Fields) -> Result<Vec<String>, Error> {
    let stop = match fields.take("stop") {
        None => return Ok(Vec::new()),
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(items)) => {
            if items.len() > STOPS_MAX {
                return Err(Error::invalid("stop", format!("`stop` must have at most {STOPS_MAX} strings, but has {}.", items.len())));
            }
            let item = |(index, item)| crate::shape::body::as_string(item, &format!("stop[{index}]"));
            items.into_iter().enumerate().map(item).collect::<Result<_, _>>()?
        }
        Some(other) => return Err(wrong_type("stop", "a string or an array of strings", &other)),
    };
    if stop.iter().any(|stop| stop.is_empty() || stop.chars().nth(STOP_CHARS_MAX).is_some()) {
        return Err(Error::invalid("stop", format!("Each string of `stop` must have 1 to {STOP_CHARS_MAX} characters.")));
    }
    Ok(stop)
}

fn decode_bias(fields: &mut Fields) -> Result<BTreeMap<u32, f32>, Error> {
    let map = match fields.take("logit_bias") {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(map)) => map,
        Some(other) => return Err(wrong_type("logit_bias", "an object from token ids to numbers", &other)),
    };
    if map.len() > BIASES_MAX {
        return Err(Error::invalid("logit_bias", format!("`logit_bias` must have at most {BIASES_MAX} entries, but has {}.", map.len())));
    }
    let entry = |(key, bias): (String, Value)| {
        let path = format!("logit_bias.{}", quoted(&key));
        let token: u32 =
            key.parse().map_err(|_| Error::invalid(&path, "The keys of `logit_bias` must be token ids: whole numbers in decimal."))?;
        Ok((token, Bounds::closed(-100.0, 100.0).check(&bias, &path)?))
    };
    map.into_iter().map(entry).collect()
}

/// Reads `stream` and `stream_options`: whether to stream, and whether to end with an account.
pub(super) fn decode_stream(fields: &mut Fields) -> Result<(bool, bool), Error> {
    let stream = fields.boolean("stream")?.unwrap_or(false);
    let mut include_usage = false;
    if let Some(mut options) = fields.object(STREAM_OPTIONS)? {
        include_usage = options.boolean("include_usage")?.unwrap_or(false);
        options.ignore(&["include_obfuscation", RUNNING_USAGE]);
        options.finish()?;
    }
    Ok((stream, include_usage))
}

/// Reads `response_format`.
pub(super) fn decode_format(fields: &mut Fields) -> Result<ResponseFormat, Error> {
    let Some(mut format) = fields.object("response_format")? else { return Ok(ResponseFormat::Text) };
    let kind = format.require_string("type")?;
    let decoded = match kind.as_str() {
        "text" => ResponseFormat::Text,
        "json_object" => ResponseFormat::JsonObject,
        "json_schema" => {
            let mut schema = format.object("json_schema")?.ok_or_else(|| crate::shape::body::missing(&format.path("json_schema")))?;
            let named = decode_schema(&mut schema)?;
            let strict = schema.boolean("strict")?.unwrap_or(false);
            schema.ignore(&["description"]);
            schema.finish()?;
            ResponseFormat::JsonSchema { name: named.name, schema: named.schema, strict }
        }
        other => return Err(not_one_of(&format.path("type"), other, &["text", "json_object", "json_schema"])),
    };
    format.finish()?;
    Ok(decoded)
}

pub(super) fn encode_format(format: &ResponseFormat, body: &mut Map<String, Value>) {
    let format = match format {
        ResponseFormat::Text => return,
        ResponseFormat::JsonObject => json!({"type": "json_object"}),
        ResponseFormat::JsonSchema { name, schema, strict } => {
            json!({"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": strict}})
        }
    };
    body.insert("response_format".into(), format);
}

pub(super) fn encode(sampling: &Sampling, body: &mut Map<String, Value>) {
    let numbers = [
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("min_p", sampling.min_p),
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
        ("repetition_penalty", sampling.repetition_penalty),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            body.insert(name.into(), number(value));
        }
    }
    if let Some(top_k) = sampling.top_k {
        body.insert("top_k".into(), json!(top_k));
    }
    if let Some(seed) = sampling.seed {
        body.insert("seed".into(), json!(seed.cast_signed()));
    }
    if !sampling.logit_bias.is_empty() {
        let bias = sampling.logit_bias.iter().map(|(token, bias)| (token.to_string(), number(*bias))).collect();
        body.insert("logit_bias".into(), Value::Object(bias));
    }
    if !sampling.stop.is_empty() {
        body.insert("stop".into(), json!(sampling.stop));
    }
    if sampling.n > 1 {
        body.insert("n".into(), json!(sampling.n));
    }
}

pub(super) fn encode_stream(stream: bool, include_usage: bool, body: &mut Map<String, Value>) {
    if stream {
        body.insert("stream".into(), json!(true));
    }
    if include_usage {
        body.insert(STREAM_OPTIONS.into(), json!({"include_usage": true}));
    }
}
