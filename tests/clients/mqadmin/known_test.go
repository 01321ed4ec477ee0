package mqadmin

import (
	"regexp"
	"strings"
)

// knownDifference is a line that differs and is meant to.
type knownDifference struct {
	// command is how the command lines begin, without `mqadmin `.
	command string
	// line is a pattern of the whole line: `- ` before one that is missing here, `+ ` before one that is more.
	line   string
	reason string
	// sometimes says that it may be missing.
	sometimes bool
}

const (
	link        = "texts of answers carry no link here, and then the tool adds its own"
	javaTopics  = "topics of what upstream keeps of its own: pop, RocksDB, members"
	leftOver    = "was left by an earlier recording"
	halves      = "half messages are a table; no group reads their topics"
	ownRuntime  = "counters of ours, and keys that older tools read"
	ownSettings = "shown are the settings that mean something here"
	noUsers     = "there are no users and access lists, and the text says so"
	noColdData  = "reads of old messages are not limited, and the text says so"
	ownText     = "the text is ours"
)

var knownDifferencesTable = []knownDifference{
	{command: "", line: `- See https://\S+ for further details\.`, reason: link},
	{command: "", line: `\+ For more information, please visit the url, .*`, reason: link},
	{command: "topicList", line: `- (DefaultCluster )?(MqTopicA|MqTopicFifo)`, reason: leftOver},
	{command: "topicList", line: `- (DefaultCluster )?(RMQ_SYS_ROCKSDB|rmq_sys_)\w+\S*( .*)?`, reason: javaTopics},
	{command: "topicList", line: `[-+] DefaultCluster RMQ_SYS_TRANS_(OP_)?HALF_TOPIC( CID_RMQ_SYS_TRANS)?`, reason: halves},
	{command: "statsAll", line: `- (RMQ_SYS_ROCKSDB|rmq_sys_)\w+\S* .*`, reason: javaTopics},
	{command: "statsAll", line: `[-+] RMQ_SYS_TRANS_(OP_)?HALF_TOPIC .*`, reason: halves},
	{command: "brokerConsumeStats", line: `- RMQ_SYS_TRANS_(OP_)?HALF_TOPIC CID_RMQ_SYS_TRANS .*`, reason: halves},
	{command: "updateTopic", line: `- Caused by: .*code29 DESC: The specified topic: bad topic, .*`, reason: ownText},
	{command: "updateTopic", line: `\+ Caused by: .*code29 DESC: the topic contains the illegal character ' '; .*`, reason: ownText},
	{command: "brokerStatus", line: `\+ (ADDRESS )?apogee\.\w+ : N`, reason: ownRuntime},
	{
		command: "brokerStatus",
		line:    `\+ (ADDRESS )?(brokerVersion|getTransferedTps|remainHowManyDataToCommit) : .*`,
		reason:  ownRuntime,
	},
	{command: "brokerStatus", line: `[-+] (ADDRESS )?commitLogDiskRatio_\S+: N`, reason: "another folder"},
	{command: "brokerStatus", line: `- (ADDRESS )?scheduleMessageOffset_\d : N,N`, reason: leftOver},
	{command: "getBrokerConfig", line: `[-+] \S+ = ?.*`, reason: ownSettings},
	{command: "getNamesrvConfig", line: `[-+] \S+ = ?.*`, reason: ownSettings},
	{
		command: "queryCq", line: `- ConsumeQueueData.* eval=false, .*`,
		reason: "whether a message passes the filter of the group is shown",
	},
	{
		command: "queryCq", line: `\+ ConsumeQueueData.* eval=true, .*`,
		reason: "whether a message passes the filter of the group is shown",
	},
	{
		command: "queryMsgByUniqueKey", line: `[-+] MessageTrack .*CG_admin_order.*`,
		reason: "a moment ago the message was sent again: consumers may not have it yet", sometimes: true,
	},
	{
		command: "printMsg", line: `[-+] MessageQueue .* no matched msg\. .*`,
		reason: "hangs on which messages the last seconds brought", sometimes: true,
	},
	{command: "updateBrokerConfig", line: `- Caused by: .*code16 DESC: Can not update config in black list\. BROKER: .*`, reason: ownText},
	{command: "updateBrokerConfig", line: `\+ Caused by: .*code16 DESC: .* can only be set where the broker is started .*`, reason: ownText},
	{command: "", line: `\+ Caused by: .*code3 DESC: request code AUTH_\w+ .*no users and access lists`, reason: noUsers},
	{command: "", line: `- Caused by: .*code1 DESC: An system error occurred, please try again later\.`, reason: noUsers},
	{command: "listAcl", line: `- Caused by: .*code1 DESC: java\.lang\.IllegalStateException: .*`, reason: noUsers},
	{command: "updateColdDataFlowCtrGroupConfig", line: `- .* success, ADDRESS`, reason: noColdData},
	{command: "removeColdDataFlowCtrGroupConfig", line: `- .* success, ADDRESS`, reason: noColdData},
	{command: "updateColdDataFlowCtrGroupConfig", line: `\+ org\S+ .* command failed`, reason: noColdData},
	{command: "removeColdDataFlowCtrGroupConfig", line: `\+ org\S+ .* command failed`, reason: noColdData},
	{command: "", line: `\+ Caused by: .*code3 DESC: .* does not limit reads of old messages.*`, reason: noColdData},
}

type knownDifferences struct {
	entries []knownDifference
	lines   []*regexp.Regexp
	used    []bool
}

func newKnownDifferences() *knownDifferences {
	known := &knownDifferences{entries: knownDifferencesTable, used: make([]bool, len(knownDifferencesTable))}
	for _, entry := range known.entries {
		known.lines = append(known.lines, regexp.MustCompile("^(?:"+entry.line+")$"))
	}
	return known
}

// covers tells whether the difference is known.
func (k *knownDifferences) covers(command, line string) bool {
	for index, entry := range k.entries {
		if strings.HasPrefix(strings.TrimPrefix(command, "mqadmin "), entry.command) && k.lines[index].MatchString(line) {
			k.used[index] = true
			return true
		}
	}
	return false
}

// unused returns entries that covered nothing.
func (k *knownDifferences) unused() []knownDifference {
	var unused []knownDifference
	for index, used := range k.used {
		if !used && !k.entries[index].sometimes {
			unused = append(unused, k.entries[index])
		}
	}
	return unused
}
