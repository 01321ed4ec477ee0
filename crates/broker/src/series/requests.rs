//! How long requests take.

use metrics::{Family, Page};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::v2::Code;

use super::truth;
use crate::broker::Broker;
use crate::grpc;
use crate::membership::Door;
use crate::rpc_latency::Kind;

const LATENCY: Family = Family::histogram(
    "rocketmq_rpc_latency",
    "Time from a request to its answer; sends that came together share the time of their append",
)
.in_unit("milliseconds");

pub fn write(broker: &Broker, page: &mut Page) {
    page.family(&LATENCY, |series| {
        for (kind, histogram) in broker.counters.rpc_latency.all() {
            let (request, response) = names(*kind);
            let labels = [
                ("protocol_type", if kind.door == Door::Grpc { "grpc" } else { "remoting" }),
                ("request_code", &*request),
                ("response_code", &*response),
                ("is_long_polling", truth(kind.held)),
                ("result", if kind.oneway { "oneway" } else { "success" }),
            ];
            series.histogram(&labels, histogram);
        }
    });
}

/// What was asked and what was answered, in the lower case that stock brokers have here.
fn names(kind: Kind) -> (String, String) {
    match kind.door {
        Door::Remoting => {
            let request = RequestCode(kind.request).name().map_or("unknown".into(), str::to_ascii_lowercase);
            let response = ResponseCode(kind.response).name();
            (request, response.map_or_else(|| kind.response.to_string(), str::to_ascii_lowercase))
        }
        Door::Grpc => {
            let call = usize::try_from(kind.request).ok().and_then(|number| grpc::CALL_NAMES.get(number));
            let code = Code::try_from(kind.response)
                .map_or_else(|_| kind.response.to_string(), |code| code.as_str_name().to_ascii_lowercase());
            (snake_case(call.unwrap_or(&"unknown")), code)
        }
    }
}

/// `send_message` for `SendMessage`: as the same request is called at the other door.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for (index, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_doors_call_the_same_request_the_same() {
        let remoting = Kind::remoting(RequestCode::SEND_MESSAGE, ResponseCode::SUCCESS);
        assert_eq!(names(remoting), ("send_message".into(), "success".into()));
        let call = grpc::CALL_NAMES.iter().position(|name| *name == "SendMessage").unwrap();
        assert_eq!(names(Kind::grpc(call as i32, 20_000)), ("send_message".into(), "ok".into()));
        let strange = Kind::remoting(RequestCode(-1), ResponseCode(77_777));
        assert_eq!(names(strange), ("unknown".into(), "77777".into()));
    }
}
