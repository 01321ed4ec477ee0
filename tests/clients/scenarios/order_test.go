package scenarios

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"apogee.test/clients/scenarios/actor"
)

// groupNames are spread over the queues of a topic.
var groupNames = []string{"north", "east", "south", "west", "up", "down"}

// sendInGroups sends messages 0 to count-1 of each message group, the groups in turn.
func sendInGroups(t *testing.T, with *actor.Producer, topic string, from, count int) []string {
	t.Helper()
	var texts []string
	for number := from; number < from+count; number++ {
		for _, group := range groupNames {
			text := fmt.Sprintf("%s %d", group, number)
			send(t, with, actor.Message{Topic: topic, Body: []byte(text), Group: group})
			texts = append(texts, text)
		}
	}
	return texts
}

// checkOrder complains unless the messages of each group have the numbers 0, 1, 2 and so on.
func checkOrder(t *testing.T, messages []actor.Message) {
	t.Helper()
	next := map[string]int{}
	for _, message := range messages {
		group := strings.Fields(message.Text())[0]
		if want := fmt.Sprintf("%s %d", group, next[group]); message.Text() != want {
			t.Errorf("received %q where %q was next", message.Text(), want)
		}
		next[group]++
	}
}

func TestMessageGroupsKeepTheirOrder(t *testing.T) {
	forEach(t, offersSimple, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "FIFO"), newOrderedGroup(t, shared)
		by := play(t, who)
		texts := sendInGroups(t, newProducer(t, by, topic), topic, 0, 10)
		consumer := newSimple(t, who, by, group, all(topic))
		var received []actor.Message
		for len(received) < len(texts) {
			batch := receive(t, consumer, 1, soon, soon)
			ack(t, consumer, batch...)
			received = append(received, batch...)
		}
		checkTexts(t, received, texts...)
		checkOrder(t, received)
	})
}

func TestAnUnfinishedBatchHoldsBackItsMessageGroup(t *testing.T) {
	forEach(t, offersSimple, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "FIFO"), newOrderedGroup(t, shared)
		by := play(t, who)
		producer := newProducer(t, by, topic)
		for _, text := range []string{"first", "second", "third"} {
			send(t, producer, actor.Message{Topic: topic, Body: []byte(text), Group: "only"})
		}
		one, two := newSimple(t, who, by, group, all(topic)), newSimple(t, who, by, group, all(topic))
		asked := nowMs()
		messages := receive(t, one, 1, 2*invisible, soon)
		if messages[0].Text() != "first" {
			t.Fatalf("received %s", describe(messages))
		}
		expectNothing(t, two, await)
		again := receive(t, two, 1, soon, soon)
		if again[0].Text() != "first" || again[0].Attempt != 2 {
			t.Fatalf("received %s", describe(again))
		}
		checkBack(t, again[0], asked, messages[0], 2*invisible)
		rest := []actor.Message{}
		for ack(t, two, again...); len(rest) < 2; {
			batch := receive(t, two, 1, soon, soon)
			ack(t, two, batch...)
			rest = append(rest, batch...)
		}
		if rest[0].Text() != "second" || rest[1].Text() != "third" {
			t.Errorf("received %s", describe(rest))
		}
	})
}

func TestAnOrderedPushConsumerFinishesOneMessageBeforeTheNext(t *testing.T) {
	forEach(t, offersOrder, func(t *testing.T, who client) {
		topic := newTopic(t, shared, "FIFO")
		group := newOrderedGroupFor(t, shared, who)
		by := play(t, who)
		texts := sendInGroups(t, newProducer(t, by, topic), topic, 0, 10)
		finished := newInbox()
		var mutex sync.Mutex
		failed := map[string]bool{}
		newOrderedPush(t, by, group, func(message actor.Message) actor.Outcome {
			mutex.Lock()
			defer mutex.Unlock()
			// Each third message fails at first, and must not be overtaken while it waits.
			fails := !who.overtakesFailed && strings.HasSuffix(message.Text(), " 3")
			if fails && !failed[message.Text()] {
				failed[message.Text()] = true
				return actor.Failure
			}
			return finished.accept(message)
		}, all(topic))
		checkOrder(t, finished.awaitTexts(t, 2*soon, texts...))
		checkTexts(t, finished.all(), texts...)
		if len(failed) != len(groupNames) && !who.overtakesFailed {
			t.Errorf("%d messages failed", len(failed))
		}
	})
}

func TestOrderHoldsWhenConsumersTakeOver(t *testing.T) {
	forEach(t, offersOrder, func(t *testing.T, who client) {
		topic := newTopic(t, shared, "FIFO")
		group := newOrderedGroupFor(t, shared, who)
		by := play(t, who)
		producer := newProducer(t, by, topic)
		texts := sendInGroups(t, producer, topic, 0, 10)
		finished := newInbox()
		half := len(texts) / 2
		first := newOrderedPush(t, by, group, finished.accept, all(topic))
		finished.await(t, soon, "half of the messages", func(messages []actor.Message) bool { return half <= len(messages) })
		if err := first.Stop(); err != nil {
			t.Error(err)
		}
		newOrderedPush(t, by, group, finished.accept, all(topic))
		texts = append(texts, sendInGroups(t, producer, topic, 10, 5)...)
		checkOrder(t, withoutRepeats(finished.awaitTexts(t, 3*soon, texts...)))
	})
}

// withoutRepeats leaves out deliveries of what was finished before: an acknowledgement may be lost with
// the consumer that sent it.
func withoutRepeats(messages []actor.Message) []actor.Message {
	seen := map[string]bool{}
	var once []actor.Message
	for _, message := range messages {
		if !seen[message.Text()] {
			once = append(once, message)
		}
		seen[message.Text()] = true
	}
	return once
}
