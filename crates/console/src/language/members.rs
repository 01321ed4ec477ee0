//! Texts of a member of a group.

super::texts! {
    member_of: "Member of {}", "{} 的成员";
    no_such_member: "No broker knows a client {} of the group {}. It may have gone since.", "没有 Broker 知道客户端 {}（消费组 {}），它可能已经离线。";
    member_silent: "The client was asked and did not tell: {}", "已询问客户端，但未得到回答：{}";
    member_about: "Asked just now, through its broker. What a client tells depends on its language and version.", "刚刚通过 Broker 询问得到。客户端返回的内容取决于其语言和版本。";
    queues_it_pulls: "Queues it pulls", "拉取的队列";
    queues_it_pops: "Queues it pops", "以 POP 方式消费的队列";
    no_queue_here: "It has no queue: other members have them all, or it has only just come.", "未分配到队列：队列都在其他成员处，或它刚刚加入。";
    committed: "Committed", "已提交";
    in_memory: "In memory", "内存中";
    last_pull: "Last pull", "上次拉取";
    last_pop: "Last pop", "上次 POP";
    not_acknowledged: "Not acknowledged", "未确认";
    locked: "locked", "已锁定";
    given_away: "given away", "已让出";
    rates_of_member: "How fast it is", "消费速率";
    pulled_per_second: "Pulled / s", "拉取/秒";
    done_per_second: "Consumed / s", "消费/秒";
    failed_in_hour: "Failed in an hour", "一小时内失败";
    time_of_pull: "Pull takes", "拉取耗时";
    time_of_message: "Message takes", "消费耗时";
    value: "Value", "值";
    own_facts: "Its settings", "客户端设置";
    stacks: "Threads", "线程栈";
    ask_stacks: "Show what its threads do", "查看线程栈";
    stacks_none: "It told no stacks: clients of some languages have none to tell.", "未返回线程栈：部分语言的客户端不支持。";
}
