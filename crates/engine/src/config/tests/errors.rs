//! What a bad file is told.

use super::bad;

#[test]
fn everything_at_once() {
    let text = r#"
production: {nam: Ward, ShutdownTimeout: soon}
items:
  - name: In
    class: FeedServce
  - name: In2
    class: FeedService
    pol_size: 2
    adapter: {Prt: 1, AckMode: Never}
    host: {ackMode: Never, QueueSize: 5, PoolSize: 2, QueueType: lifo, TargetConfigNames: "In, Outt , In2"}
    settings:
      - {target: Adapter, name: Port, value: 70000}
      - {target: Adapter, name: ReadTimeout, value: 0}
      - {target: host, name: AckMode, value: Nevr}
      - {target: Foo, name: AckMode, value: Never}
      - {target: Host, name: Version}
"#;
    println!("{}", bad(text).join("\n"));
}
