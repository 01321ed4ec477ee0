package scenarios

import (
	"testing"
	"time"

	"apogee.test/clients/go/remoting"

	"apogee.test/clients/scenarios/actor"
)

const (
	// fewRetries make the last attempt the third.
	fewRetries   = 2
	lastAttempt  = fewRetries + 1
	deadLetterOf = "%DLQ%"
)

func TestAMessageBecomesADeadLetterAfterItsLastAttempt(t *testing.T) {
	forEach(t, offersSimple, func(t *testing.T, who client) {
		topic := newTopic(t, shared, "NORMAL")
		group := createGroup(t, shared, remoting.Group{Retries: fewRetries})
		by := play(t, who)
		consumer := newSimple(t, who, by, group, all(topic))
		message := actor.Message{Topic: topic, Body: []byte("hopeless"), Tag: "tag", Keys: []string{"key"}, Properties: map[string]string{"name": "value"}}
		sent := send(t, newProducer(t, by, topic), message)
		for attempt := 1; attempt <= lastAttempt; attempt++ {
			received := receive(t, consumer, 1, invisible, soon)[0]
			if received.Attempt != attempt || received.ID != sent.ID {
				t.Errorf("received attempt %d of %s, want %d of %s", received.Attempt, received.ID, attempt, sent.ID)
			}
			if !who.changesInvisible {
				// The time of this attempt runs out by itself.
				continue
			}
			if err := consumer.ChangeInvisible(received, 0); err != nil {
				t.Fatal(err)
			}
		}
		expectNothing(t, consumer, invisible+await)
		checkDeadLetters(t, who, group, message, sent)
	})
}

// checkDeadLetters reads the group's dead letters, which are to be this one message.
func checkDeadLetters(t *testing.T, who client, group string, message actor.Message, sent actor.Sent) {
	t.Helper()
	eventually(t, soon, "a route for the dead letters", func() bool {
		_, err := remoting.Master(shared.Nameserver, deadLetterOf+group)
		return err == nil
	})
	reader := newSimple(t, who, play(t, who), newGroup(t, shared), all(deadLetterOf+group))
	letter := receive(t, reader, 1, soon, soon)[0]
	ack(t, reader, letter)
	if letter.Topic != deadLetterOf+group {
		t.Errorf("the dead letter is of topic %s", letter.Topic)
	}
	if letter.Text() != message.Text() || letter.Tag != message.Tag || len(letter.Keys) != len(message.Keys) {
		t.Errorf("the dead letter is %q, tag %q, keys %q", letter.Text(), letter.Tag, letter.Keys)
	}
	if letter.Properties["name"] != message.Properties["name"] {
		t.Errorf("the dead letter has the properties %q", letter.Properties)
	}
	if letter.ID != sent.ID {
		t.Errorf("the dead letter is message %s, sent was %s", letter.ID, sent.ID)
	}
	expectNothing(t, reader, await)
}

func TestAPushConsumersFailuresEndAsDeadLetters(t *testing.T) {
	forEach(t, offersPush, func(t *testing.T, who client) {
		topic := newTopic(t, shared, "NORMAL")
		group := createGroup(t, shared, remoting.Group{Retries: fewRetries})
		by := play(t, who)
		received := newInbox()
		newPush(t, by, group, func(message actor.Message) actor.Outcome {
			received.add(message)
			return actor.Failure
		}, all(topic))
		message := actor.Message{Topic: topic, Body: []byte("hopeless"), Tag: "tag", Keys: []string{"key"}, Properties: map[string]string{"name": "value"}}
		sent := send(t, newProducer(t, by, topic), message)
		received.awaitText(t, 2*soon, message.Text(), lastAttempt)
		checkDeadLetters(t, who, group, message, sent)
		if count := len(received.all()); count != lastAttempt {
			t.Errorf("the message was delivered %d times, want %d", count, lastAttempt)
		}
	})
}

func TestAnOrderedConsumersDeadLetterLetsTheNextMessagePass(t *testing.T) {
	forEach(t, offersOrder, func(t *testing.T, who client) {
		topic := newTopic(t, shared, "FIFO")
		group := createGroup(t, shared, remoting.Group{Retries: fewRetries, Ordered: true, ExponentialBackoff: who.needsExponentialBackoff})
		by := play(t, who)
		finished := newInbox()
		newOrderedPush(t, by, group, func(message actor.Message) actor.Outcome {
			if message.Text() == "hopeless" {
				return actor.Failure
			}
			return finished.accept(message)
		}, all(topic))
		producer := newProducer(t, by, topic)
		message := actor.Message{Topic: topic, Body: []byte("hopeless"), Group: "only", Properties: map[string]string{"name": "value"}}
		sent := send(t, producer, message)
		before := time.Now()
		for _, text := range []string{"next", "last"} {
			send(t, producer, actor.Message{Topic: topic, Body: []byte(text), Group: "only"})
		}
		messages := finished.awaitTexts(t, 2*soon, "next", "last")
		if messages[0].Text() != "next" || len(messages) != 2 {
			t.Errorf("received %s", describe(messages))
		}
		t.Logf("the next message passed after %v", messages[0].At().Sub(before))
		checkDeadLetters(t, who, group, message, sent)
	})
}
