package scenarios

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"apogee.test/clients/go/cluster"
	"apogee.test/clients/go/remoting"

	"apogee.test/clients/scenarios/actor"
)

const (
	// soon is far beyond what anything takes that waits for no timer.
	soon = 30 * time.Second

	// await is how long a simple consumer waits for messages. Servers may refuse less.
	await = 5 * time.Second

	// invisible is the shortest time for which servers must hide a received message.
	invisible = 10 * time.Second

	// redelivery is the first entry of the table by which failed messages are delivered again.
	redelivery = time.Second

	queueCount = 4
)

// stock tells that the server is a stock one. Of that a little less is asked.
var stock = os.Getenv("APOGEE_STOCK") != ""

// lateMax is how much later than promised a message may be in its consumer's hands, on a machine on which
// all clients play at once.
var lateMax = func() time.Duration {
	if stock {
		return 10 * time.Second
	}
	return 2 * time.Second
}()

// notStock skips what a stock server does otherwise.
func notStock(t *testing.T, reason string) {
	t.Helper()
	if stock {
		t.Skip("a stock server: " + reason)
	}
}

// started keeps the names of one run apart from those of another on the same server.
var started = time.Now().UnixMilli()

var (
	uniqueMutex sync.Mutex
	uniqueGiven int
)

func unique(kind string) string {
	uniqueMutex.Lock()
	defer uniqueMutex.Unlock()
	uniqueGiven++
	return fmt.Sprintf("%s-%d-%d", kind, started, uniqueGiven)
}

func newTopic(t *testing.T, on *cluster.Cluster, kind string) string {
	t.Helper()
	name := unique(strings.ToLower(kind))
	if err := remoting.CreateTopic(on.Nameserver, remoting.Topic{Name: name, Queues: queueCount, Type: kind}); err != nil {
		t.Fatal(err)
	}
	return name
}

// defaultRetries of a group are those of a stock server.
const defaultRetries = 16

func newGroup(t *testing.T, on *cluster.Cluster) string {
	t.Helper()
	return createGroup(t, on, remoting.Group{Retries: defaultRetries})
}

func newOrderedGroup(t *testing.T, on *cluster.Cluster) string {
	t.Helper()
	return createGroup(t, on, remoting.Group{Retries: defaultRetries, Ordered: true})
}

// newOrderedGroupFor has the retry policy that the client understands.
func newOrderedGroupFor(t *testing.T, on *cluster.Cluster, who client) string {
	t.Helper()
	return createGroup(t, on, remoting.Group{
		Retries: defaultRetries, Ordered: true, ExponentialBackoff: who.needsExponentialBackoff,
	})
}

func createGroup(t *testing.T, on *cluster.Cluster, group remoting.Group) string {
	t.Helper()
	group.Name = unique("group")
	if err := remoting.CreateGroup(on.Nameserver, group); err != nil {
		t.Fatal(err)
	}
	return group.Name
}

func all(topic string) actor.Subscription {
	return actor.Subscription{Topic: topic, Expression: "*"}
}

func newProducer(t *testing.T, by *actor.Actor, topic string) *actor.Producer {
	t.Helper()
	return newCheckedProducer(t, by, topic, nil)
}

func newCheckedProducer(t *testing.T, by *actor.Actor, topic string, checker func(actor.Message) actor.Outcome) *actor.Producer {
	t.Helper()
	producer, err := by.Producer(unique("producers"), []string{topic}, checker)
	if err != nil {
		t.Fatal(err)
	}
	return producer
}

func awaitOf(who client) time.Duration {
	return cmp.Or(who.await, await)
}

func newSimple(t *testing.T, who client, by *actor.Actor, group string, to ...actor.Subscription) *actor.SimpleConsumer {
	t.Helper()
	consumer, err := by.SimpleConsumer(group, awaitOf(who), to...)
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

func newPush(t *testing.T, by *actor.Actor, group string, listener func(actor.Message) actor.Outcome, to ...actor.Subscription) *actor.PushConsumer {
	t.Helper()
	consumer, err := by.PushConsumer(group, false, listener, to...)
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

func newOrderedPush(t *testing.T, by *actor.Actor, group string, listener func(actor.Message) actor.Outcome, to ...actor.Subscription) *actor.PushConsumer {
	t.Helper()
	consumer, err := by.PushConsumer(group, true, listener, to...)
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

func send(t *testing.T, with *actor.Producer, message actor.Message) actor.Sent {
	t.Helper()
	sent, err := with.Send(message)
	if err != nil {
		t.Fatal(err)
	}
	if sent.ID == "" {
		t.Fatalf("%q was stored without an id", message.Text())
	}
	return sent
}

// sendTexts sends messages without anything but their texts.
func sendTexts(t *testing.T, with *actor.Producer, topic string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		send(t, with, actor.Message{Topic: topic, Body: []byte(text)})
	}
}

func numbered(name string, count int) []string {
	texts := make([]string, count)
	for number := range texts {
		texts[number] = fmt.Sprintf("%s %d", name, number)
	}
	return texts
}

func ack(t *testing.T, with *actor.SimpleConsumer, messages ...actor.Message) {
	t.Helper()
	for _, message := range messages {
		if err := with.Ack(message); err != nil {
			t.Fatalf("acknowledging %.60q, attempt %d: %v", message.Text(), message.Attempt, err)
		}
	}
}

// ask receives once.
func ask(t *testing.T, with *actor.SimpleConsumer, most int, hiddenFor time.Duration) []actor.Message {
	t.Helper()
	messages, err := with.Receive(most, hiddenFor)
	// A stock server now and then drops the settings of a client that has just started.
	if err != nil && !stock {
		t.Fatal(err)
	}
	return messages
}

// receive asks for messages until there are so many.
func receive(t *testing.T, with *actor.SimpleConsumer, count int, hiddenFor, within time.Duration) []actor.Message {
	t.Helper()
	var received []actor.Message
	for deadline := time.Now().Add(within); len(received) < count; {
		if time.Now().After(deadline) {
			t.Fatalf("%v passed with %d of %d messages: %s", within, len(received), count, describe(received))
		}
		received = append(received, ask(t, with, min(count, 32), hiddenFor)...)
	}
	return received
}

// receiveAndAck does both until every text was received, and complains of texts that come twice.
func receiveAndAck(t *testing.T, with *actor.SimpleConsumer, texts ...string) []actor.Message {
	t.Helper()
	received := receive(t, with, len(texts), invisible, soon)
	ack(t, with, received...)
	checkTexts(t, received, texts...)
	return received
}

// expectNothing receives for a while, which is to bring nothing.
func expectNothing(t *testing.T, with *actor.SimpleConsumer, duration time.Duration) {
	t.Helper()
	for end := time.Now().Add(duration); time.Now().Before(end); {
		messages := ask(t, with, 32, invisible)
		if len(messages) != 0 {
			t.Fatalf("nothing was to come, but there came %s", describe(messages))
		}
	}
}

// checkTexts complains unless each of the texts is there exactly once, and nothing else.
func checkTexts(t *testing.T, messages []actor.Message, texts ...string) {
	t.Helper()
	counts := countTexts(messages)
	for _, text := range texts {
		if counts[text] != 1 {
			t.Errorf("%q was received %d times", text, counts[text])
		}
		delete(counts, text)
	}
	for text := range counts {
		t.Errorf("%q was not to be received", text)
	}
}

func countTexts(messages []actor.Message) map[string]int {
	counts := map[string]int{}
	for _, message := range messages {
		counts[message.Text()]++
	}
	return counts
}

func describe(messages []actor.Message) string {
	if len(messages) == 0 {
		return "nothing"
	}
	var lines strings.Builder
	for _, message := range messages[max(0, len(messages)-20):] {
		fmt.Fprintf(&lines, "\n  %s %.60q of %s attempt %d", message.At().Format("15:04:05.000"), message.Text(), message.Topic, message.Attempt)
	}
	return lines.String()
}

// inbox gathers what listeners were called with, in that order.
type inbox struct {
	mutex    sync.Mutex
	messages []actor.Message
	grown    chan struct{}
}

func newInbox() *inbox {
	return &inbox{grown: make(chan struct{})}
}

// accept is a listener that notes each message and reports success.
func (i *inbox) accept(message actor.Message) actor.Outcome {
	i.add(message)
	return actor.Success
}

func (i *inbox) add(message actor.Message) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.messages = append(i.messages, message)
	close(i.grown)
	i.grown = make(chan struct{})
}

func (i *inbox) snapshot() ([]actor.Message, <-chan struct{}) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	return i.messages[:len(i.messages):len(i.messages)], i.grown
}

func (i *inbox) all() []actor.Message {
	messages, _ := i.snapshot()
	return messages
}

// await waits until enough says yes to the messages so far, and returns them.
func (i *inbox) await(t *testing.T, within time.Duration, expected string, enough func([]actor.Message) bool) []actor.Message {
	t.Helper()
	deadline := time.After(within)
	for {
		messages, grown := i.snapshot()
		if enough(messages) {
			return messages
		}
		select {
		case <-grown:
		case <-deadline:
			t.Fatalf("%v passed without %s; received: %s", within, expected, describe(messages))
		}
	}
}

// awaitTexts waits until each of the texts was received at least once.
func (i *inbox) awaitTexts(t *testing.T, within time.Duration, texts ...string) []actor.Message {
	t.Helper()
	return i.await(t, within, fmt.Sprintf("all of %d messages", len(texts)), func(messages []actor.Message) bool {
		counts := countTexts(messages)
		for _, text := range texts {
			if counts[text] == 0 {
				return false
			}
		}
		return true
	})
}

// awaitText waits for the attempt of a message.
func (i *inbox) awaitText(t *testing.T, within time.Duration, text string, attempt int) actor.Message {
	t.Helper()
	var found actor.Message
	i.await(t, within, fmt.Sprintf("attempt %d of %q", attempt, text), func(messages []actor.Message) bool {
		for _, message := range messages {
			if message.Text() == text && message.Attempt == attempt {
				found = message
				return true
			}
		}
		return false
	})
	return found
}

// nowMs is now as servers and messages tell it: the millisecond that has begun. What is counted from a later part of
// it seems to end too early.
func nowMs() time.Time {
	return time.Now().Truncate(time.Millisecond)
}

// checkTime complains of messages that come before their time or long after it.
func checkTime(t *testing.T, message actor.Message, due time.Time) {
	t.Helper()
	checkTimeAbout(t, message, due, 0)
}

// checkTimeAbout is for times that are known less well: the true one may be so much earlier.
func checkTimeAbout(t *testing.T, message actor.Message, due time.Time, earlier time.Duration) {
	t.Helper()
	late := message.At().Sub(due)
	if late < -earlier {
		t.Errorf("%q came %v early", message.Text(), -late)
	}
	if lateMax < late {
		t.Errorf("%q came %v late", message.Text(), late)
	}
	t.Logf("%q: %v late", message.Text(), late)
}

// checkBack complains of a message that is back before its time or long after it. The server hid it at some time
// between asked, when the consumer began to ask, and the time at which the client held it, which may be a while
// later: a virtual machine that has just started takes its time.
func checkBack(t *testing.T, again actor.Message, asked time.Time, held actor.Message, hiddenFor time.Duration) {
	t.Helper()
	checkTimeAbout(t, again, held.At().Add(hiddenFor), held.At().Sub(asked))
}

const pollInterval = 20 * time.Millisecond

// eventually asks until the answer is yes.
func eventually(t *testing.T, within time.Duration, expected string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !holds(); time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			t.Fatalf("%v passed without %s", within, expected)
		}
	}
}
