//! One request at a time: tokens, text, limits.

use std::time::{Duration, Instant};

use freehold_dialects::canonical::FinishReason;
use freehold_domain::ErrorCode;
use freehold_inference::engine::{Engine, SamplingParams};

use super::support::{ask, collect, greedy, prompt, request, shared, start, wait_until};

#[test]
fn facts_of_the_model() {
    let (engine, _turn) = shared();
    let info = engine.info();
    assert_eq!(info.architecture, "llama");
    assert_eq!((info.context_tokens, info.sequence_tokens_max), (2048, 2048));
    assert_eq!(info.vocabulary_size, 49152);
    assert_eq!(info.bos_text, "<|im_start|>");
    assert!(info.control_texts.iter().any(|text| text == "<|im_end|>"));
    assert!(info.chat_template.as_ref().is_some_and(|template| template.contains("im_start")));
    assert!(info.weights_bytes > 80_000_000);
    // 30 layers, 3 heads of 64 numbers of 2 bytes, keys and values.
    assert_eq!(info.cache_bytes, 2048 * 30 * 3 * 64 * 2 * 2);
    assert_eq!(info.placement.iter().map(|placement| placement.layers).sum::<u32>(), 31);
}

#[test]
fn tokens_and_special_tokens() {
    let (engine, _turn) = shared();
    let special = engine.tokenize("<|im_end|>", true, false).expect("text");
    assert_eq!(special.len(), 1);
    assert!(engine.tokenize("<|im_end|>", false, false).expect("text").len() > 1);
    assert!(engine.tokenize("", true, false).expect("text").is_empty());
}

#[test]
fn greedy_answers_are_the_same_every_time() {
    let (engine, _turn) = shared();
    let prompt = prompt(engine, "What is the capital of France?");
    let first = ask(engine, request("greedy 1", prompt.clone(), 24));
    let second = ask(engine, request("greedy 2", prompt.clone(), 24));
    assert!(first.text().contains("Paris"), "{}", first.text());
    assert_eq!(first.text(), second.text());
    assert_eq!(first.usage.prompt_tokens as usize, prompt.len());
    assert_eq!(first.reasons, [Some(FinishReason::Stop)]);
    assert!(first.usage.completion_tokens <= 24);
    let cut = ask(engine, request("greedy 3", prompt, 3));
    assert_eq!((cut.reasons[0], cut.usage.completion_tokens), (Some(FinishReason::Length), 3));
    assert!(first.text().starts_with(cut.text()));
}

#[test]
fn a_seed_decides_the_answer() {
    let (engine, _turn) = shared();
    let prompt = prompt(engine, "Invent a name for a boat.");
    let seeded = |salt: &str, seed| {
        let mut request = request(salt, prompt.clone(), 16);
        request.sampling = SamplingParams { temperature: 1.0, top_p: 0.95, seed, ..greedy() };
        ask(engine, request).text().to_owned()
    };
    let first = seeded("seed 1", 5);
    assert_eq!(first, seeded("seed 2", 5));
    let others: Vec<String> = (6..10).map(|seed| seeded(&format!("seed {seed}"), seed)).collect();
    assert!(others.iter().any(|other| *other != first), "{first} {others:?}");
}

#[test]
fn stop_strings_across_tokens() {
    let (engine, _turn) = shared();
    let prompt = prompt(engine, "Count from one to twenty in words.");
    let whole = ask(engine, request("stop", prompt.clone(), 40)).text().to_owned();
    let letters: Vec<(usize, char)> = whole.char_indices().collect();
    assert!(letters.len() > 30, "{whole}");
    for from in [5, 9, 14, 20] {
        let stop = &whole[letters[from].0..letters[from + 6].0];
        let mut request = request("stop", prompt.clone(), 40);
        request.stop = vec!["never said".to_owned(), stop.to_owned()];
        let answer = ask(engine, request);
        let expect = &whole[..whole.find(stop).expect("it was said")];
        assert_eq!((answer.text_or_empty(), answer.reasons[0]), (expect, Some(FinishReason::Stop)));
    }
}

#[test]
fn logit_bias_forces_and_forbids() {
    let (engine, _turn) = shared();
    let prompt = prompt(engine, "What is the capital of France?");
    let word = engine.tokenize(" sea", false, false).expect("text");
    assert_eq!(word.len(), 1);
    let mut forced = request("bias", prompt.clone(), 4);
    forced.sampling.logit_bias = vec![(word[0], 100.0)];
    assert_eq!(ask(engine, forced).text(), " sea sea sea sea");
    let free = ask(engine, request("bias", prompt.clone(), 1)).text().to_owned();
    let first = engine.tokenize(&free, false, false).expect("text");
    let mut forbidden = request("bias", prompt, 1);
    forbidden.sampling.logit_bias = vec![(first[0], -100.0)];
    assert_ne!(ask(engine, forbidden).text(), free);
}

#[test]
fn log_probabilities_belong_to_the_text() {
    let (engine, _turn) = shared();
    let mut asked = request("logprobs", prompt(engine, "Say something with an emoji like 😀."), 24);
    asked.logprobs = Some(5);
    let answer = ask(engine, asked);
    let bytes: Vec<u8> = answer.logprobs.iter().flat_map(|entry| entry.bytes.clone()).collect();
    assert_eq!(String::from_utf8_lossy(&bytes), answer.text());
    for entry in &answer.logprobs {
        assert_eq!(entry.top.len(), 5);
        assert!(entry.top.is_sorted_by(|left, right| left.1 >= right.1));
        assert_eq!((&entry.top[0].0, entry.top[0].1), (&entry.bytes, entry.logprob), "greedy takes the likeliest");
        let mass: f32 = entry.top.iter().map(|(_, logprob)| logprob.exp()).sum();
        assert!(mass > 0.0 && mass <= 1.0 + 1e-4);
    }
}

#[test]
fn several_answers_share_the_prompt() {
    let (engine, _turn) = shared();
    let before = engine.stats();
    let prompt = prompt(engine, "Write one sentence about rivers, another about mountains, and a last one about the wide open sea.");
    let mut asked = request("several", prompt.clone(), 12);
    asked.n = 3;
    asked.sampling = SamplingParams { temperature: 1.5, seed: 3, ..greedy() };
    let answer = ask(engine, asked);
    assert_eq!(answer.texts.len(), 3);
    assert!(answer.texts[0] != answer.texts[1] || answer.texts[1] != answer.texts[2]);
    assert_eq!(answer.usage.prompt_tokens as usize, prompt.len());
    assert_eq!(answer.usage.cached_tokens, 0);
    assert!(answer.usage.completion_tokens >= 3);
    let after = engine.stats();
    assert_eq!(after.prompt_tokens - before.prompt_tokens, prompt.len() as u64, "the prompt counts once");
}

#[test]
fn prompts_that_are_too_long_name_both_numbers() {
    let (engine, _turn) = shared();
    let error = engine.generate(request("long", vec![100; 2048], 1)).expect_err("too long");
    assert_eq!(error.code, ErrorCode::ContextLengthExceeded);
    assert!(error.message.contains("2048 tokens, and the model's context of 2048 tokens"), "{}", error.message);
    let error = engine.generate(request("empty", Vec::new(), 1)).expect_err("empty");
    assert_eq!(error.code, ErrorCode::InvalidRequest);
    let error = engine.generate(request("foreign", vec![-1, 70_000], 1)).expect_err("no such token");
    assert_eq!((error.code, error.param.as_deref()), (ErrorCode::InvalidRequest, Some("prompt")));
    let mut hot = request("hot", vec![1], 1);
    hot.sampling.temperature = f32::NAN;
    assert_eq!(engine.generate(hot).expect_err("not a number").param.as_deref(), Some("temperature"));
}

#[test]
fn an_answer_may_fill_the_context() {
    let engine = start(256, 1, 4);
    let prompt = prompt(&engine, "Tell me a very long story.");
    let mut asked = request("fill", prompt.clone(), 1);
    asked.max_tokens = None;
    // Without end tokens it goes on until the context is full.
    asked.sampling.logit_bias = vec![(2, -100.0), (0, -100.0)];
    let answer = ask(&engine, asked);
    assert_eq!(answer.reasons, [Some(FinishReason::Length)]);
    assert_eq!(answer.usage.completion_tokens as usize, 256 - prompt.len());
}

#[test]
fn deadlines_and_clients_that_leave() {
    let (engine, _turn) = shared();
    let prompt = prompt(engine, "Tell me a long story.");
    let mut late = request("late", prompt.clone(), 10);
    late.deadline = Instant::now();
    let error = collect(engine.generate(late).expect("accepted")).expect_err("too late");
    assert_eq!(error.code, ErrorCode::DeadlineExceeded);
    let mut soon = request("soon", prompt.clone(), 2000);
    soon.sampling.logit_bias = vec![(2, -100.0), (0, -100.0)];
    soon.deadline = Instant::now() + Duration::from_millis(50);
    let error = collect(engine.generate(soon.clone()).expect("accepted")).expect_err("too late");
    assert_eq!(error.code, ErrorCode::DeadlineExceeded);

    soon.deadline = Instant::now() + Duration::from_secs(600);
    let mut generation = engine.generate(soon).expect("accepted");
    generation.events.blocking_recv().expect("it has begun");
    let before = engine.stats();
    drop(generation);
    wait_until("the end of the work", || {
        let stats = engine.stats();
        stats.requests_running + stats.requests_waiting == 0
    });
    let stopped = engine.stats();
    // One step may be under way when the client leaves, and one more begin before that is seen.
    assert!(stopped.generation_tokens - before.generation_tokens < 100, "{before:?} {stopped:?}");
    let answer = ask(engine, request("after", prompt, 2));
    assert_eq!(engine.stats().generation_tokens - stopped.generation_tokens, u64::from(answer.usage.completion_tokens));
}
