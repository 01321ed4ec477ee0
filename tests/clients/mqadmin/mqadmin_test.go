package mqadmin

import (
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"apogee.test/clients/go/cluster"
)

// transcripts is what the tool printed against RocketMQ.
const transcripts = "../../../crates/protocol/golden/mqadmin"

// The recorded addresses.
const (
	recordedNameserver = "127.0.0.1:19876"
	recordedBroker     = "127.0.0.1:20911"
)

// settings are those of the recorded broker that show.
var settings = []string{"defaultTopicQueueNums=4", "enablePropertyFilter=true", "brokerIP1=127.0.0.1"}

// given are files that commands read.
var given = map[string]string{
	"topics.json": `[{"topicName":"MqTopicL1","readQueueNums":2,"writeQueueNums":2,"perm":6},
		{"topicName":"MqTopicL2","readQueueNums":1,"writeQueueNums":1,"perm":6}]`,
	"groups.json": `[{"groupName":"MqGroupL1"},{"groupName":"MqGroupL2","retryMaxTimes":3}]`,
}

func TestEveryRecordedCommandPrintsWhatItPrintedAgainstRocketMQ(t *testing.T) {
	recorded, err := readTranscripts(transcripts)
	if err != nil {
		t.Fatal(err)
	}
	server := cluster.Own(t, settings...)
	folder := t.TempDir()
	for name, text := range given {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	running, first := startTool(t, folder, server.Nameserver)
	known := newKnownDifferences()
	for _, command := range commands(t) {
		expected, ok := recorded[command]
		if !ok {
			t.Errorf("%s: there is no transcript", command)
			continue
		}
		found := running.run(t, arguments(command, server, first))
		compare(t, known, command, expected.Out, found.Out)
		compare(t, known, command, expected.Err, found.Err)
	}
	for _, unused := range known.unused() {
		t.Errorf("%s: `%s` does not differ any more (%s)", unused.command, unused.line, unused.reason)
	}
}

func commands(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("commands.txt")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// arguments turns a recorded command line into one for this cluster, at this time.
func arguments(command string, server *cluster.Cluster, first sentFirst) []string {
	now := time.Now()
	milliseconds := func(ago time.Duration) string { return strconv.FormatInt(now.Add(-ago).UnixMilli(), 10) }
	replaced := strings.NewReplacer(
		recordedNameserver, server.Nameserver,
		recordedBroker, server.Broker,
		"7F000001000051AF000000000001AC80", first.OffsetID,
		"FD00000000000000000000000000000234E74E0E2F2A7C9F259D0000", first.UniqueID,
		// The tool takes a queue by chance, and what follows shows which: the one that it was when this was recorded.
		"-k mk -c TagM", "-k mk -c TagM -b broker-a -i 3",
		"-i 2 -o 17", "-i "+first.Queue+" -o "+first.Offset,
		"-s 1795582307470", "-s "+milliseconds(10*time.Second),
		"-b 1795582309470 -e 1795582317470", "-b "+milliseconds(10*time.Second)+" -e "+milliseconds(0),
	)
	return words(replaced.Replace(strings.TrimPrefix(strings.TrimPrefix(command, "mqadmin"), " ")))
}

// words splits at blanks that are not between single quotes.
func words(line string) []string {
	words := []string{}
	for index, part := range strings.Split(line, "'") {
		if index%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

// counted are commands of whose output each row is there once for each queue, client or broker, which are as many here.
var counted = []string{
	"allocateMQ", "clusterList", "consumerConnection", "consumerProgress -n " + recordedNameserver + " -g", "haStatus",
	"producerConnection", "queryCq", "resetOffsetByTime", "skipAccumulatedMessage", "topicClusterList", "topicRoute",
	"topicStatus",
}

func compare(t *testing.T, known *knownDifferences, command, expected, found string) {
	t.Helper()
	left, right := lines(expected), lines(found)
	for _, line := range without(left, right) {
		if !known.covers(command, "- "+line) {
			t.Errorf("%s\n  misses   %s", command, line)
		}
	}
	for _, line := range without(right, left) {
		if !known.covers(command, "+ "+line) {
			t.Errorf("%s\n  adds     %s", command, line)
		}
	}
	if !isCounted(command) {
		return
	}
	for line, times := range left {
		if right[line] != 0 && right[line] != times {
			t.Errorf("%s\n  %d instead of %d times   %s", command, right[line], times, line)
		}
	}
}

func isCounted(command string) bool {
	for _, start := range counted {
		if strings.HasPrefix(command, "mqadmin "+start) {
			return true
		}
	}
	return false
}

func without(lines, others map[string]int) []string {
	var rest []string
	for line := range lines {
		if others[line] == 0 {
			rest = append(rest, line)
		}
	}
	sort.Strings(rest)
	return rest
}
