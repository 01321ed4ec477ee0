package scenarios

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"apogee.test/clients/scenarios/actor"
)

// crossing are the clients of which each sends to each other.
var crossing = []client{remotingGo, remotingJava, grpcGo, grpcPython}

func TestEveryClientReceivesWhatEveryOtherSends(t *testing.T) {
	t.Parallel()
	for _, sender := range crossing {
		for _, receiver := range crossing {
			if sender.name == receiver.name {
				continue
			}
			t.Run(sender.name+" to "+receiver.name, func(t *testing.T) {
				t.Parallel()
				t.Run("messages", func(t *testing.T) { t.Parallel(); crossMessages(t, sender, receiver) })
				t.Run("delays", func(t *testing.T) { t.Parallel(); crossDelays(t, sender, receiver) })
				t.Run("order", func(t *testing.T) { t.Parallel(); crossOrder(t, sender, receiver) })
				t.Run("transactions", func(t *testing.T) { t.Parallel(); crossTransactions(t, sender, receiver) })
			})
		}
	}
}

func crossMessages(t *testing.T, sender, receiver client) {
	topic, group := newTopic(t, shared, "MIXED"), newGroup(t, shared)
	everything, chosen := newInbox(), newInbox()
	newPush(t, play(t, receiver), group, everything.accept, all(topic))
	newPush(t, play(t, receiver), newGroup(t, shared), chosen.accept, actor.Subscription{Topic: topic, Expression: "paid || late"})
	messages := []actor.Message{
		{Topic: topic, Body: everyByte(), Tag: "paid", Keys: []string{"order-17", "user-4"},
			Properties: map[string]string{"region": "eu", "Grüße": "ça va – ☃", "price": "12"}},
		{Topic: topic, Body: []byte("nothing but a body")},
		{Topic: topic, Body: []byte("late"), Tag: "late", Keys: []string{"order-18"}},
		// So long that some clients compress it.
		{Topic: topic, Body: bytes.Repeat([]byte("long and dull, "), 64<<10/15)},
	}
	producer := newProducer(t, play(t, sender), topic)
	for _, message := range messages {
		sent := send(t, producer, message)
		everything.awaitTexts(t, 2*soon, message.Text())
		checkCrossed(t, receiver, find(everything.all(), message.Text()), message, sent)
	}
	checkTexts(t, chosen.awaitTexts(t, 2*soon, messages[0].Text(), "late"), messages[0].Text(), "late")
	if len(everything.all()) != len(messages) {
		t.Errorf("received %s", describe(everything.all()))
	}
}

// checkCrossed allows remoting clients, which are shown the server's properties too, more than was sent.
func checkCrossed(t *testing.T, receiver client, received, message actor.Message, sent actor.Sent) {
	t.Helper()
	if receiver.remoting {
		properties := map[string]string{}
		for name, value := range received.Properties {
			if _, wanted := message.Properties[name]; wanted {
				properties[name] = value
			}
		}
		received.Properties = properties
	}
	checkSame(t, received, message, sent)
}

func find(messages []actor.Message, text string) actor.Message {
	for _, message := range messages {
		if message.Text() == text {
			return message
		}
	}
	return actor.Message{}
}

func crossDelays(t *testing.T, sender, receiver client) {
	topic, group := newTopic(t, shared, "MIXED"), newGroup(t, shared)
	received := newInbox()
	newPush(t, play(t, receiver), group, received.accept, all(topic))
	producer := newProducer(t, play(t, sender), topic)
	// Consumers have begun when this one has come.
	sendTexts(t, producer, topic, "not delayed")
	received.awaitTexts(t, 2*soon, "not delayed")

	due := deliveryTime(sender, 4*time.Second)
	message := actor.Message{Topic: topic, Body: []byte("delayed"), Tag: "tag", Keys: []string{"key"}, DeliverAtMs: due.UnixMilli()}
	sent := send(t, producer, message)
	delivered := received.awaitText(t, soon, "delayed", 1)
	checkTime(t, delivered, due)
	checkCrossed(t, receiver, delivered, message, sent)
	if sender.remoting {
		before := nowMs()
		send(t, producer, actor.Message{Topic: topic, Body: []byte("of a level"), DelayLevel: 1})
		delivered := received.awaitText(t, soon, "of a level", 1)
		if delivered.At().Before(before.Add(time.Second)) {
			t.Errorf("a message of the level of 1 s came after %v", delivered.At().Sub(before))
		}
	}
}

func crossOrder(t *testing.T, sender, receiver client) {
	const count = 8
	topic, group := newTopic(t, shared, "MIXED"), newOrderedGroup(t, shared)
	received := newInbox()
	newOrderedPush(t, play(t, receiver), group, received.accept, all(topic))
	texts := sendInGroups(t, newProducer(t, play(t, sender), topic), topic, 0, count)
	messages := received.awaitTexts(t, 2*soon, texts...)
	checkTexts(t, messages, texts...)
	checkOrder(t, messages)
	for _, message := range messages {
		// The remoting Go client has a name of its own for it, which is a property like others.
		if named := strings.Fields(message.Text())[0]; message.Group != named && sender.name != remotingGo.name {
			t.Errorf("%q came in the message group %q", message.Text(), message.Group)
		}
	}
}

func crossTransactions(t *testing.T, sender, receiver client) {
	topic, group := newTopic(t, shared, "TRANSACTION"), newGroup(t, shared)
	received := newInbox()
	newPush(t, play(t, receiver), group, received.accept, all(topic))
	producer := newCheckedProducer(t, play(t, sender), topic, func(message actor.Message) actor.Outcome {
		if strings.HasSuffix(message.Text(), "then rollback") {
			return actor.Rollback
		}
		return actor.Commit
	})
	sent := map[string]actor.Sent{}
	message := func(text string) actor.Message {
		return actor.Message{
			Topic: topic, Body: []byte(text), Tag: "tag", Keys: []string{"key"}, Properties: map[string]string{"name": "value"},
		}
	}
	for _, text := range []string{"rollback", "unknown, then rollback", "commit", "unknown, then commit"} {
		outcome := actor.Outcome(strings.Split(text, ",")[0])
		sent[text] = transact(t, sender, producer, message(text), outcome)
	}
	for _, text := range []string{"commit", "unknown, then commit"} {
		received.awaitTexts(t, 2*soon, text)
		checkCrossed(t, receiver, find(received.all(), text), message(text), sent[text])
	}
	// A later transaction's end comes after the checks of those before it.
	transact(t, sender, producer, message("another unknown, then commit"), actor.Unknown)
	received.awaitTexts(t, 2*soon, "another unknown, then commit")
	for text, count := range countTexts(received.all()) {
		// A stock server stores a message as often as its transaction is committed.
		if count != 1 && !stock || strings.HasSuffix(text, "rollback") {
			t.Errorf("%q was received %d times", text, count)
		}
	}
}

// transact sends a message in a transaction and ends that, unless its outcome is unknown.
func transact(t *testing.T, who client, with *actor.Producer, message actor.Message, outcome actor.Outcome) actor.Sent {
	t.Helper()
	if who.remoting {
		sent, err := with.SendInTransaction(message, outcome)
		if err != nil {
			t.Fatal(err)
		}
		return sent
	}
	half, err := with.SendHalf(message)
	if err == nil && outcome != actor.Unknown {
		err = half.End(outcome)
	}
	if err != nil {
		t.Fatal(fmt.Errorf("%q: %w", message.Text(), err))
	}
	return half.Sent
}
