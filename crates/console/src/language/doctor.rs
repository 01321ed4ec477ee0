//! Texts of the doctor.

super::texts! {
    doctor: "Doctor", "诊断";
    doctor_about: "Looks for what usually goes wrong; each verdict with its evidence and the next command.", "检查常见问题；每项结论都附有依据和下一条命令。";
    doctor_good: "No check found anything.", "所有检查均未发现问题。";
    doctor_found: "Checks that found something: {} of {}.", "发现问题的检查：{} / {}。";
    doctor_unknown: "Checks without a verdict: {}.", "无法得出结论的检查：{}。";
    check_good: "good", "正常";
    check_look: "worth a look", "需要关注";
    check_bad: "broken", "异常";
    check_unknown: "not known", "未知";
    check_nodes: "Every node answers", "所有节点均有响应";
    check_nameservers: "Nameservers know the same brokers at the same addresses", "各 NameServer 中的 Broker 及其地址一致";
    check_addresses: "Routes lead to addresses that others can reach", "路由中的地址可被其他机器访问";
    check_subscriptions: "Members of a group subscribe to the same", "同一消费组的成员订阅一致";
    check_lag: "No group falls further behind", "没有消费组的积压在增长";
    check_disk: "Disks have room", "磁盘空间充足";
    check_clocks: "Clocks of brokers agree", "各 Broker 的时钟一致";
    check_dead_letters: "No dead letters come in", "没有新的死信";
    check_unread: "Topics with messages have a group that consumes them", "有消息的主题均有消费组消费";
    nameserver_lacks_broker: "{} does not know {}", "{} 中没有 {}";
    nameserver_tells_otherwise: "{} tells {} for {}, another tells {}", "{} 返回 {}（{}），另一个返回 {}";
    address_is_local: "{} is at {}: clients on other machines reach themselves there", "{} 的地址为 {}：其他机器上的客户端会连接到自己";
    address_is_nowhere: "{} is at {}, which is no address to connect to", "{} 的地址为 {}，无法连接";
    group_differs_on: "{}: {}", "{}：{}";
    lag_grew: "{}: {} waiting, {} in the last hour at the least", "{}：{} 条待消费，过去一小时内最少为 {} 条";
    disk_is_at: "{}: {} used; sends are refused when it is full", "{}：已使用 {}；写满后将拒绝发送";
    clock_is_off: "{} is ahead of {} by {}", "{} 比 {} 快 {}";
    dead_come_in: "{}: {}/s, {} kept", "{}：{}/s，共保留 {} 条";
    dead_lately: "{}: the last one {} ago, {} kept", "{}：最近一条在 {} 前，共保留 {} 条";
    unread_topic: "{}: {} messages, no group", "{}：{} 条消息，无消费组";
    checked_first: "Looked at the first {} of {}.", "仅检查了前 {} 个（共 {} 个）。";
    clocks_not_told: "Not told by: {}", "未提供的节点：{}";
}
