//! Texts to vectors.

use std::time::{Duration, Instant};

use freehold_domain::{Error, ErrorCode};
use freehold_inference::engine::{EmbedRequest, Engine, LlamaEngine, Share, Token};

use super::support::{filler, shared};

fn embed(engine: &LlamaEngine, inputs: Vec<Vec<Token>>) -> Result<Vec<Vec<f32>>, Error> {
    let request = EmbedRequest {
        request_id: "embed".to_owned(),
        share: Share { key: "embed".into(), weight: 100 },
        inputs,
        deadline: Instant::now() + Duration::from_secs(600),
    };
    engine.embed(request)?.blocking_recv().expect("the engine lives")
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

#[test]
fn similar_texts_are_closer() {
    let (engine, _turn) = shared();
    let texts = ["The cat sat on the mat.", "A kitten was sitting on the rug.", "The stock market fell by three percent on Monday."];
    let inputs: Vec<Vec<Token>> = texts.iter().map(|text| engine.tokenize(text, false, true).expect("text")).collect();
    let vectors = embed(engine, inputs.clone()).expect("embedded");
    assert_eq!(vectors.len(), 3);
    for vector in &vectors {
        assert_eq!(vector.len(), 576);
        assert!((dot(vector, vector) - 1.0).abs() < 1e-4);
    }
    assert!(dot(&vectors[0], &vectors[1]) > dot(&vectors[0], &vectors[2]));
    for (input, together) in inputs.into_iter().zip(&vectors) {
        let alone = embed(engine, vec![input]).expect("embedded");
        assert!(dot(&alone[0], together) > 0.999, "alone or in company, the same vector");
    }
}

#[test]
fn long_inputs_are_computed_in_pieces_and_bounded() {
    let (engine, _turn) = shared();
    let long = filler(engine, 700);
    let vectors = embed(engine, vec![vec![5], long.clone(), vec![5]]).expect("embedded");
    assert!(dot(&vectors[0], &vectors[2]) > 0.9999);
    assert!(dot(&vectors[1], &embed(engine, vec![long]).expect("embedded")[0]) > 0.999);
    let error = embed(engine, vec![vec![5], vec![5; 2049]]).expect_err("too long");
    assert_eq!((error.code, error.param.as_deref()), (ErrorCode::ContextLengthExceeded, Some("input[1]")));
    assert!(error.message.contains("2049") && error.message.contains("2048"));
    assert_eq!(embed(engine, Vec::new()).expect_err("nothing").code, ErrorCode::InvalidRequest);
    assert_eq!(embed(engine, vec![Vec::new()]).expect_err("empty").code, ErrorCode::InvalidRequest);
}
