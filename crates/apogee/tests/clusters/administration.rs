//! The official commands and the nouns, against our own brokers.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Cluster, command};

/// Exit status and standard error of a command.
fn failure(cluster: &Cluster, arguments: &[&str]) -> (i32, String) {
    let output = command(arguments).args(["-n", &cluster.nameserver]).output().unwrap();
    assert!(output.stdout.is_empty(), "{arguments:?} {output:?}");
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn official_commands_and_nouns_administer_a_cluster() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path());
    let said = cluster.run(&["mqadmin", "updatetopic", "-c", "DefaultCluster", "-t", "orders", "-r", "2", "-w", "2"]);
    assert!(said.starts_with("create topic to ") && said.contains("topicName=orders, readQueueNums=2"), "{said}");
    assert_eq!(cluster.run(&["topic", "clusters", "orders"]), "DefaultCluster\n");
    let route = cluster.run(&["topic", "route", "orders", "--list"]);
    assert!(route.starts_with("#ClusterName ") && route.contains("DefaultCluster "), "{route}");

    let sent = &cluster.json(&["message", "send", "orders", "-p", "hello", "-k", "k1", "-c", "paid"])[0][0];
    let id = sent["message_id"].as_str().unwrap();
    let found = &cluster.json(&["message", "get", id, "-t", "orders", "-f", "UTF-8"])[0][0];
    assert_eq!((&found["body"], &found["tag"], &found["keys"]), (&json!("hello"), &json!("paid"), &json!("k1")));
    let queue = found["queue"].to_string();
    let offset =
        cluster.run(&["mqadmin", "queryMsgByOffset", "-t", "orders", "-b", "broker-a", "-i", &queue, "-o", "0"]);
    assert!(offset.contains(&format!("UNIQ_KEY={id}")), "{offset}");
    let status = &cluster.json(&["mqadmin", "topicStatus", "-t", "orders"])[0];
    let stored: i64 = status["rows"].as_array().unwrap().iter().map(|row| row["max_offset"].as_i64().unwrap()).sum();
    assert_eq!(stored, 1, "{status}");

    let wiped = cluster.json(&["broker", "drain", "broker-a"]);
    assert!(wiped[0][0]["topics"].as_i64().unwrap() > 0, "{wiped:?}");
    let route: Value = serde_json::from_str(&cluster.run(&["mqadmin", "topicRoute", "-t", "orders"])).unwrap();
    assert_eq!(route["queueDatas"][0]["perm"], 4);
    cluster.run(&["broker", "undrain", "broker-a"]);
    cluster.stop(Signal::TERM);
}

#[test]
fn a_failure_says_why_in_one_line_and_has_a_status() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path());
    let (status, said) = failure(&cluster, &["mqadmin", "topicRoute", "-t", "nothing"]);
    assert_eq!((status, said.as_str()), (3, "mqadmin: topicRoute failed: topic `nothing` does not exist\n"));
    let (status, said) = failure(&cluster, &["topic", "alter", "a b", "-c", "DefaultCluster"]);
    assert!(status == 4 && said.contains("(29)") && said.lines().count() == 1, "{status} {said}");
    let (status, said) = failure(&cluster, &["topic", "dance", "orders"]);
    assert!(status == 2 && said.contains("`dance` is no verb of topic") && said.contains("topicRoute"), "{said}");
    let habit = command(&["mqadmin", "topicRoute", "-t", "nothing", "-n", &cluster.nameserver])
        .env("APOGEE_MQADMIN_EXIT0", "1")
        .output()
        .unwrap();
    assert!(habit.status.success() && !habit.stderr.is_empty(), "{habit:?}");
    cluster.stop(Signal::TERM);
}

#[test]
fn nameservers_are_found_where_the_official_scripts_put_them() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path());
    let options = format!("-Xmx1g -Drocketmq.namesrv.addr={}", cluster.nameserver);
    // An address that counts less, and where nobody listens.
    let mut listing = command(&["mqadmin", "topicList"]);
    let output = listing.env("JAVA_OPT", options).env("NAMESRV_ADDR", "127.0.0.1:1").output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty(), "{output:?}");
    cluster.stop(Signal::TERM);
}

#[test]
fn a_list_can_be_watched() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path());
    let arguments = ["mqadmin", "topicList", "--watch=100ms", "-n", &cluster.nameserver];
    let mut watching = command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(watching.stdout.take().unwrap()).lines().map_while(Result::ok);
    // It ends when it has been seen twice.
    assert_eq!(lines.filter(|line| line == "TBW102").take(2).count(), 2);
    // Whoever read it is gone: that is the end, and no failure.
    assert!(watching.wait().unwrap().success());
    cluster.stop(Signal::TERM);
}
