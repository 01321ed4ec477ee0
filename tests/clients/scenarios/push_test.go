package scenarios

import (
	"testing"
	"time"

	"apogee.test/clients/scenarios/actor"
)

func TestAPushConsumerReceivesEachMessageOnce(t *testing.T) {
	forEach(t, offersPush, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "NORMAL"), newGroup(t, shared)
		by := play(t, who)
		received := newInbox()
		newPush(t, by, group, received.accept, all(topic))
		texts := numbered("pushed", 100)
		sendTexts(t, newProducer(t, by, topic), topic, texts...)
		for _, message := range received.awaitTexts(t, soon, texts...) {
			if message.Attempt != 1 {
				t.Errorf("%q came as attempt %d", message.Text(), message.Attempt)
			}
		}
		checkTexts(t, received.all(), texts...)
	})
}

func TestAMessageThatFailsIsDeliveredAgain(t *testing.T) {
	forEach(t, offersPush, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "NORMAL"), newGroup(t, shared)
		by := play(t, who)
		received := newInbox()
		newPush(t, by, group, func(message actor.Message) actor.Outcome {
			received.add(message)
			if message.Text() == "fails once" && message.Attempt == 1 {
				return actor.Failure
			}
			return actor.Success
		}, all(topic))
		producer := newProducer(t, by, topic)
		sent := send(t, producer, actor.Message{Topic: topic, Body: []byte("fails once"), Tag: "tag", Keys: []string{"key"}})
		sendTexts(t, producer, topic, "succeeds")
		first := received.awaitText(t, soon, "fails once", 1)
		again := received.awaitText(t, soon, "fails once", 2)
		if again.ID != sent.ID || again.Topic != topic || again.Tag != "tag" || len(again.Keys) != 1 {
			t.Errorf("delivered again as %+v, sent was %+v", again, sent)
		}
		// Nothing comes of either any more, and all is well with what follows.
		sendTexts(t, producer, topic, numbered("follows", 2*queueCount)...)
		received.awaitTexts(t, soon, numbered("follows", 2*queueCount)...)
		counts := countTexts(received.all())
		if counts["fails once"] != 2 || counts["succeeds"] != 1 {
			t.Errorf("received %s", describe(received.all()))
		}
		if !who.remoting && !who.retriesAtOnce {
			checkTime(t, again, first.At().Add(redelivery))
		}
	})
}

func TestAMessageThatFailsInAnotherGroupIsNotDeliveredAgainInThisOne(t *testing.T) {
	forEach(t, offersPush, func(t *testing.T, who client) {
		topic := newTopic(t, shared, "NORMAL")
		by := play(t, who)
		failing, content := newInbox(), newInbox()
		newPush(t, by, newGroup(t, shared), func(message actor.Message) actor.Outcome {
			failing.add(message)
			if message.Attempt == 1 {
				return actor.Failure
			}
			return actor.Success
		}, all(topic))
		newPush(t, by, newGroup(t, shared), content.accept, all(topic))
		sendTexts(t, newProducer(t, by, topic), topic, "one", "two")
		for _, text := range []string{"one", "two"} {
			failing.awaitText(t, soon, text, 2)
		}
		checkTexts(t, content.awaitTexts(t, soon, "one", "two"), "one", "two")
	})
}

// A listener's message stays its own for as long as the client lives, although no time was agreed on.
func TestAListenerMayTakeLongerThanTheServersMinute(t *testing.T) {
	// One client is enough: all leave the renewal to the server.
	forEach(t, func(who client) bool { return who.name == grpcGo.name }, func(t *testing.T, who client) {
		const slow = 75 * time.Second
		topic, group := newTopic(t, shared, "NORMAL"), newGroup(t, shared)
		by := play(t, who)
		received, began := newInbox(), make(chan struct{})
		newPush(t, by, group, func(message actor.Message) actor.Outcome {
			received.add(message)
			if message.Text() == "slow" {
				close(began)
				// The time that the listener takes is what this scenario is about.
				time.Sleep(slow)
			}
			return actor.Success
		}, all(topic))
		producer := newProducer(t, by, topic)
		sendTexts(t, producer, topic, "slow")
		<-began
		texts := numbered("beside it", 10)
		sendTexts(t, producer, topic, texts...)
		received.awaitTexts(t, soon, texts...)
		time.Sleep(slow)
		sendTexts(t, producer, topic, numbered("after it", 10)...)
		received.awaitTexts(t, soon, numbered("after it", 10)...)
		if count := countTexts(received.all())["slow"]; count != 1 {
			t.Errorf("the message was delivered %d times", count)
		}
	})
}
