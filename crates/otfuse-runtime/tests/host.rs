//! Limits of a host: cancellation, steps and memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use otfuse_graph::{Body, DataType, Graph, GraphBuilder, Operator, Tensor, Unary, ValueId};
use otfuse_runtime::{Cancellation, Executable, Host, RuntimeError, run_graph};

/// Three nodes one after the other, each of whose values has 10 floats; the first one's is read again by the last.
fn chain() -> Graph {
    let mut b = GraphBuilder::new("chain");
    let x = b.input("x", &[Some(10)]);
    let first = b.node(Operator::Unary(Unary::Tanh), &[x]);
    let second = b.node(Operator::Unary(Unary::Tanh), &[first]);
    let sum = b.add(first, second);
    b.output(sum);
    b.finish().unwrap()
}

fn inputs(graph: &Graph) -> Vec<(ValueId, Tensor)> {
    vec![(graph.inputs()[0], Tensor::from_f32(&[10], vec![0.5; 10]))]
}

fn run(host: &Host) -> Result<BTreeMap<ValueId, Tensor>, RuntimeError> {
    let graph = chain();
    Executable::new(&graph, host)?.run(&inputs(&graph), &[])
}

#[test]
fn steps_are_counted_over_all_clones() {
    let host = Host::default().with_steps(7);
    let free = run(&Host::default()).unwrap();
    assert_eq!(run(&host).unwrap(), free);
    assert_eq!(run(&host.clone()).unwrap(), free);
    // One step is left of seven.
    let last = chain().nodes().nth(1).unwrap().1.name.clone();
    let exceeded = RuntimeError::Budget { node: last, resource: "steps", asked: 8, allowed: 7 };
    assert_eq!(run(&host), Err(exceeded.clone()));
    assert!(exceeded.to_string().contains("8 steps, of which 7 are allowed"), "{exceeded}");
    assert!(run(&host).is_err() && run(&host.with_steps(3)).is_ok(), "a new budget");
    assert!(run(&Host::default().with_steps(0)).is_err());
}

#[test]
fn memory_is_that_of_values_alive() {
    // The last node reads two values of 40 bytes, of which none is held behind it but the sum.
    assert!(run(&Host::default().with_memory(80)).is_ok());
    let node = chain().nodes().nth(1).unwrap().1.name.clone();
    let exceeded = RuntimeError::Budget { node, resource: "bytes", asked: 80, allowed: 79 };
    assert_eq!(run(&Host::default().with_memory(79)), Err(exceeded));
}

#[test]
fn cancelled_hosts_run_nothing() {
    let host = Host::default();
    let other = Host::default();
    let together = Host::default().with_cancellation(host.cancellation());
    host.clone().cancellation().cancel();
    assert!(host.cancellation().is_cancelled() && !other.cancellation().is_cancelled());
    assert_eq!(run(&host), Err(RuntimeError::Cancelled));
    assert_eq!(run(&together), Err(RuntimeError::Cancelled));
    assert!(run(&other).is_ok());
    let handle = Cancellation::new();
    let host = Host::default().with_cancellation(handle.clone());
    let executable = Executable::new(&chain(), &host).unwrap();
    assert!(executable.run(&inputs(&chain()), &[]).is_ok());
    handle.cancel();
    assert_eq!(executable.run(&inputs(&chain()), &[]), Err(RuntimeError::Cancelled));
}

/// A loop that takes long to end by itself.
fn long() -> Graph {
    let mut body = GraphBuilder::new("body");
    body.input_of("step", DataType::I64, Vec::new());
    let condition = body.input_of("condition", DataType::Bool, Vec::new());
    let state = body.input("state", &[Some(10)]);
    let next = body.node(Operator::Unary(Unary::Tanh), &[state]);
    body.output(condition);
    body.output(next);
    let body = Body { graph: Arc::new(body.finish().unwrap()), captures: Vec::new() };
    let mut b = GraphBuilder::new("long");
    let most = b.constant(Tensor::from_i64(&[], vec![1 << 24]));
    let truth = b.constant(Tensor::new(DataType::Bool, Vec::new(), vec![1].into()).unwrap());
    let x = b.input("x", &[Some(10)]);
    let last = b.node(Operator::Loop { body, states: 1 }, &[most, truth, x]);
    b.output(last);
    b.finish().unwrap()
}

#[test]
fn bodies_of_loops_are_limited() {
    let graph = long();
    let x = Tensor::from_f32(&[10], vec![0.5; 10]);
    let run = |host: &Host| run_graph(&graph, BTreeMap::from([("x".to_owned(), x.clone())]), host);
    let error = run(&Host::default().with_steps(1000)).unwrap_err();
    assert!(matches!(error, RuntimeError::Budget { resource: "steps", asked: 1001, .. }), "{error}");
    let host = Host::default();
    let handle = host.cancellation();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&host));
        std::thread::sleep(std::time::Duration::from_millis(50));
        handle.cancel();
        assert_eq!(running.join().unwrap(), Err(RuntimeError::Cancelled));
    });
}

fn sendable<T: Send + Sync>() {}

#[test]
fn hosts_cross_threads() {
    sendable::<Host>();
    sendable::<Cancellation>();
    sendable::<Executable>();
}
