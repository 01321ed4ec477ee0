//! QueryRoute and QueryAssignment.

use broker::topics::{Permission, TopicSettings};
use protocol::v2::{
    Address, AddressScheme, Code, Endpoints, MessageType, QueryAssignmentRequest, QueryAssignmentResponse,
    QueryRouteRequest, QueryRouteResponse,
};

use super::client::Client;
use super::{code, resource};
use crate::server::Server;

fn route(client: &mut Client, topic: &str, endpoints: Option<Endpoints>) -> QueryRouteResponse {
    client.call("QueryRoute", &QueryRouteRequest { topic: resource(topic), endpoints })
}

fn said(host: &str, scheme: AddressScheme) -> Endpoints {
    Endpoints { scheme: scheme.into(), addresses: vec![Address { host: host.into(), port: 18081 }] }
}

#[test]
fn a_topic_is_created_and_all_its_queues_can_be_used_where_the_client_dialled() {
    let server = Server::start();
    let mut client = Client::connect(server.grpc_address());
    let endpoints = said("10.9.8.7", AddressScheme::IPv4);
    let answer = route(&mut client, "orders", Some(endpoints.clone()));
    assert_eq!((code(&answer.status), answer.message_queues.len()), (Code::Ok, 4));
    for (id, queue) in answer.message_queues.iter().enumerate() {
        assert_eq!((queue.id, queue.permission), (id as i32, 4));
        assert_eq!(queue.accept_message_types, [i32::from(MessageType::Normal)]);
        assert_eq!(queue.topic, resource("orders"));
        let broker = queue.broker.as_ref().unwrap();
        assert_eq!((broker.name.as_str(), broker.id, broker.endpoints.as_ref()), ("broker-a", 0, Some(&endpoints)));
    }
    // Without a word about it, it is what the client dialled.
    let answer = route(&mut client, "orders", None);
    let endpoints = answer.message_queues[0].broker.as_ref().unwrap().endpoints.as_ref().unwrap();
    assert_eq!((endpoints.scheme(), endpoints.addresses[0].host.as_str()), (AddressScheme::DomainName, "door.example"));
}

#[test]
fn what_is_configured_is_told_instead() {
    let server = Server::start_with(|config| config.grpc_endpoint = Some("mq.example:443".into()));
    let mut client = Client::connect(server.grpc_address());
    let answer = route(&mut client, "orders", Some(said("10.9.8.7", AddressScheme::IPv4)));
    let endpoints = answer.message_queues[0].broker.as_ref().unwrap().endpoints.as_ref().unwrap();
    assert_eq!((endpoints.addresses[0].host.as_str(), endpoints.addresses[0].port), ("mq.example", 443));
}

#[test]
fn types_and_permissions_are_those_of_the_topic() {
    let server = Server::start();
    let mut client = Client::connect(server.grpc_address());
    let put = |name: &str, read, write, kind: &str| {
        let mut settings = TopicSettings::new(name, read, Permission::READ_WRITE);
        settings.write_queues = write;
        settings.attributes.insert("message.type".into(), kind.into());
        server.broker().topics.put(settings, 1);
    };
    put("mixed", 1, 1, "MIXED");
    put("narrow", 2, 3, "FIFO");
    let answer = route(&mut client, "mixed", None);
    assert_eq!(answer.message_queues[0].accept_message_types, [1, 2, 3, 4]);
    let answer = route(&mut client, "narrow", None);
    assert_eq!(answer.message_queues.iter().map(|queue| queue.permission).collect::<Vec<_>>(), [4, 4, 3]);
}

#[test]
fn a_topic_that_is_not_there_is_said_so() {
    let server = Server::start_with(|config| config.auto_create_topic = false.into());
    let mut client = Client::connect(server.grpc_address());
    assert_eq!(code(&route(&mut client, "orders", None).status), Code::TopicNotFound);
    assert_eq!(code(&route(&mut client, "a b", None).status), Code::IllegalTopic);
    assert_eq!(code(&route(&mut client, "rmq_sys_x", None).status), Code::IllegalTopic);
}

#[test]
fn everybody_is_assigned_everything() {
    let server = Server::start();
    let mut client = Client::connect(server.grpc_address());
    let mut assigned = |group: &str| -> Vec<i32> {
        let request = QueryAssignmentRequest { topic: resource("orders"), group: resource(group), endpoints: None };
        let answer: QueryAssignmentResponse = client.call("QueryAssignment", &request);
        assert_eq!(code(&answer.status), Code::Ok);
        answer.assignments.iter().map(|assignment| assignment.message_queue.as_ref().unwrap().id).collect()
    };
    assert_eq!(assigned("g"), [-1]);
    let mut settings = broker::groups::GroupSettings::new("ordered");
    settings.consume_message_orderly = true;
    server.broker().groups.put(settings, 1);
    assert_eq!(assigned("ordered"), [0, 1, 2, 3]);
}
