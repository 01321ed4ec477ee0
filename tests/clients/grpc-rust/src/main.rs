//! The official Rust client for gRPC as an actor of the scenarios: `grpc-rust HOST:PORT`.
//!
//! The released client has producers and simple consumers, which cannot change the invisible time.

mod actor;
mod wire;

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, BufReader};

use actor::Actor;
use wire::{Order, Refused, Report, say};

#[tokio::main]
async fn main() {
    let endpoint = std::env::args().nth(1).expect("the address of the gRPC door");
    let actor = Arc::new(Actor::new(endpoint));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.expect("orders are text") {
        let order: Order = serde_json::from_str(&line).expect("orders are JSON");
        if order.r#do == "outcome" {
            actor.events.answer(order.event, order.outcome);
            continue;
        }
        let actor = Arc::clone(&actor);
        tokio::spawn(async move {
            let id = order.id;
            let report = actor.perform(order).await.unwrap_or_else(|text| Report {
                error: Some(Refused { code: 0, text }),
                ..Report::default()
            });
            say(&Report { id, ..report });
        });
    }
    actor.stop_all().await;
    std::process::exit(0);
}
