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

/// What the steps of a loop do.
#[derive(Clone, Copy, PartialEq)]
enum Steps {
    /// A node each.
    Compute,
    /// Nothing.
    Idle,
    /// Nothing, and leave their state behind.
    Collect,
}

/// A loop of so many steps over a state of 10 floats.
fn repeated(kind: Steps, most: i64) -> Graph {
    let mut body = GraphBuilder::new("body");
    body.input_of("step", DataType::I64, Vec::new());
    let condition = body.input_of("condition", DataType::Bool, Vec::new());
    let state = body.input("state", &[Some(10)]);
    let next = if kind == Steps::Compute { body.node(Operator::Unary(Unary::Tanh), &[state]) } else { state };
    body.output(condition);
    body.output(next);
    if kind == Steps::Collect {
        body.output(state);
    }
    let body = Body { graph: Arc::new(body.finish().unwrap()), captures: Vec::new() };
    let mut b = GraphBuilder::new("long");
    let most = b.constant(Tensor::from_i64(&[], vec![most]));
    let truth = b.constant(Tensor::new(DataType::Bool, Vec::new(), vec![1].into()).unwrap());
    let x = b.input("x", &[Some(10)]);
    let outputs = if kind == Steps::Collect { 2 } else { 1 };
    let inputs = [most, truth, x].map(Some).to_vec();
    let found = b.node_with_options(Operator::Loop { body, states: 1 }, inputs, outputs);
    found.into_iter().for_each(|value| b.output(value));
    b.finish().unwrap()
}

fn run_loop(graph: &Graph, host: &Host) -> Result<Vec<(String, Tensor)>, RuntimeError> {
    let x = Tensor::from_f32(&[10], vec![0.5; 10]);
    run_graph(graph, BTreeMap::from([("x".to_owned(), x)]), host)
}

#[test]
fn bodies_of_loops_are_limited() {
    for kind in [Steps::Compute, Steps::Idle] {
        let graph = repeated(kind, 1 << 24);
        let error = run_loop(&graph, &Host::default().with_steps(1000)).unwrap_err();
        assert!(matches!(error, RuntimeError::Budget { resource: "steps", asked: 1001, .. }), "{error}");
        let host = Host::default().with_steps(1 << 40);
        let handle = host.cancellation();
        std::thread::scope(|scope| {
            let running = scope.spawn(|| run_loop(&graph, &host));
            std::thread::sleep(std::time::Duration::from_millis(50));
            handle.cancel();
            assert_eq!(running.join().unwrap(), Err(RuntimeError::Cancelled));
        });
    }
}

#[test]
fn what_loops_collect_is_memory() {
    // 8 steps leave 40 bytes each, and what a tensor takes for itself; the state of 40 bytes is alive beside them in the end.
    let graph = repeated(Steps::Collect, 8);
    let found = run_loop(&graph, &Host::default().with_memory(1000)).unwrap();
    assert_eq!(found[1].1.shape(), [8, 10]);
    let endless = repeated(Steps::Collect, 1 << 24);
    let error = run_loop(&endless, &Host::default().with_memory(400)).unwrap_err();
    assert!(matches!(error, RuntimeError::Budget { resource: "bytes", allowed: 400, .. }), "{error}");
    assert!(run_loop(&repeated(Steps::Idle, 1000), &Host::default().with_memory(400)).is_ok());
}

#[test]
fn ids_of_other_graphs_are_errors() {
    let (small, large) = (chain(), repeated(Steps::Compute, 1));
    let mut b = GraphBuilder::new("larger");
    let mut x = b.input("x", &[Some(10)]);
    for _ in 0..20 {
        x = b.relu(x);
    }
    b.output(x);
    let other = b.finish().unwrap().outputs()[0];
    let tensor = Tensor::from_f32(&[10], vec![0.5; 10]);
    for graph in [small, large] {
        let mut executable = Executable::new(&graph, &Host::default()).unwrap();
        let error = executable.run_from(&[(other, tensor.clone())], graph.outputs()).unwrap_err();
        assert!(matches!(error, RuntimeError::UnknownInput { .. }), "{error}");
        let error = executable.run_from(&[], &[other]).unwrap_err();
        assert!(matches!(error, RuntimeError::NotComputed { .. }), "{error}");
        assert!(executable.run(&[(other, tensor.clone())], &[]).is_err());
        assert!(executable.replace(other, &tensor).is_err());
    }
}

fn sendable<T: Send + Sync>() {}

#[test]
fn hosts_cross_threads() {
    sendable::<Host>();
    sendable::<Cancellation>();
    sendable::<Executable>();
}
