//! The messages of the gRPC protocol have the names, numbers and types of the list that official clients agree on.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

const PACKAGE: &str = ".apache.rocketmq.v2.";

#[test]
fn every_value_field_and_rpc_is_that_of_the_list() {
    let list = include_str!("../../golden/grpc-v2.tsv");
    let listed: BTreeSet<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    let described = described();
    let described: BTreeSet<&str> = described.iter().map(String::as_str).collect();
    let missing: Vec<_> = listed.difference(&described).collect();
    let added: Vec<_> = described.difference(&listed).collect();
    assert!(missing.is_empty() && added.is_empty(), "missing: {missing:#?}\nnot in the list: {added:#?}");
    assert!(listed.len() > 300, "{} rows", listed.len());
}

/// The descriptors, written as the list writes them.
fn described() -> Vec<String> {
    let set = FileDescriptorSet::decode(protocol::v2::DESCRIPTORS).unwrap();
    let mut rows = Vec::new();
    for file in &set.file {
        if file.package() != "apache.rocketmq.v2" {
            continue;
        }
        file.enum_type.iter().for_each(|described| push_enum("", described, &mut rows));
        file.message_type.iter().for_each(|described| push_message(described, &mut rows));
        for service in &file.service {
            for (index, rpc) in service.method.iter().enumerate() {
                let stream = |streams: bool| if streams { "stream " } else { "" };
                let (input, output) = (local(rpc.input_type()), local(rpc.output_type()));
                let (asked, given) = (stream(rpc.client_streaming()), stream(rpc.server_streaming()));
                let row = [service.name(), rpc.name(), &(index + 1).to_string()].join("\t");
                rows.push(format!("service\t{row}\t({asked}{input}) returns ({given}{output})"));
            }
        }
    }
    rows
}

fn local(name: &str) -> &str {
    name.strip_prefix(PACKAGE).or(name.strip_prefix('.')).unwrap_or(name)
}

fn push_enum(owner: &str, described: &EnumDescriptorProto, rows: &mut Vec<String>) {
    for value in &described.value {
        rows.push(format!("enum\t{owner}{}\t{}\t{}\tvalue", described.name(), value.name(), value.number()));
    }
}

fn push_message(described: &DescriptorProto, rows: &mut Vec<String>) {
    let owner = format!("{}.", described.name());
    described.enum_type.iter().for_each(|inner| push_enum(&owner, inner, rows));
    for field in &described.field {
        let kind = match field.r#type() {
            Type::Enum => format!("enum {}", local(field.type_name())),
            Type::Message if described.nested_type.iter().any(|inner| field.type_name().ends_with(inner.name())) => {
                "map<string,string>".to_owned()
            }
            Type::Message => local(field.type_name()).to_owned(),
            scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
        };
        let is_map = kind.starts_with("map<");
        let before = match field.label() {
            Label::Repeated if !is_map => "repeated ",
            _ if field.proto3_optional() => "optional ",
            _ => "",
        };
        let oneof = field.oneof_index.filter(|_| !field.proto3_optional());
        let after = oneof.map(|index| format!(" oneof={}", described.oneof_decl[index as usize].name()));
        let after = after.unwrap_or_default();
        rows.push(format!(
            "message\t{}\t{}\t{}\t{before}{kind}{after}",
            described.name(),
            field.name(),
            field.number()
        ));
    }
}

#[test]
fn unknown_enum_numbers_and_fields_are_no_error() {
    let known = protocol::v2::Status { code: 77_777, message: "x".into() };
    let mut bytes = known.encode_to_vec();
    bytes.extend_from_slice(&[0xFA, 0x3F, 2, b'h', b'i']);
    assert_eq!(protocol::v2::Status::decode(bytes.as_slice()).unwrap(), known);
}
