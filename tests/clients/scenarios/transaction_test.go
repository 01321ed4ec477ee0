package scenarios

import (
	"sync"
	"testing"

	"apogee.test/clients/scenarios/actor"
)

func TestTransactionsAreCommittedAndRolledBack(t *testing.T) {
	forEach(t, func(who client) bool { return who.transactions }, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "TRANSACTION"), newGroup(t, shared)
		by := play(t, who)
		producer := newCheckedProducer(t, by, topic, func(actor.Message) actor.Outcome { return actor.Unknown })
		consumer := newSimple(t, who, by, group, all(topic))
		ends := map[string]*actor.Transaction{}
		for _, text := range []string{"commit", "rollback"} {
			half, err := producer.SendHalf(actor.Message{
				Topic: topic, Body: []byte(text), Tag: "tag", Keys: []string{"key"}, Properties: map[string]string{"name": "value"},
			})
			if err != nil {
				t.Fatal(err)
			}
			ends[text] = half
		}
		expectNothing(t, consumer, await)
		for text, half := range ends {
			if err := half.End(actor.Outcome(text)); err != nil {
				t.Fatal(err)
			}
		}
		message := receive(t, consumer, 1, soon, soon)[0]
		ack(t, consumer, message)
		checkSame(t, message, actor.Message{
			Topic: topic, Body: []byte("commit"), Tag: "tag", Keys: []string{"key"}, Properties: map[string]string{"name": "value"},
		}, ends["commit"].Sent)
		// Long enough for a check of the one that was rolled back.
		expectNothing(t, consumer, 2*await)
	})
}

func TestOrphanedTransactionsAreAskedAfter(t *testing.T) {
	forEach(t, func(who client) bool { return who.transactions && who.checks }, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "TRANSACTION"), newGroup(t, shared)
		by := play(t, who)
		var mutex sync.Mutex
		asked := map[string]int{}
		ids := map[string]string{}
		producer := newCheckedProducer(t, by, topic, func(message actor.Message) actor.Outcome {
			mutex.Lock()
			defer mutex.Unlock()
			asked[message.Text()]++
			ids[message.Text()] = message.ID
			switch {
			case message.Text() == "to be rolled back":
				return actor.Rollback
			case asked[message.Text()] == 1:
				return actor.Unknown
			default:
				return actor.Commit
			}
		})
		consumer := newSimple(t, who, by, group, all(topic))
		sent := map[string]string{}
		for _, text := range []string{"to be rolled back", "to be committed"} {
			half, err := producer.SendHalf(actor.Message{Topic: topic, Body: []byte(text)})
			if err != nil {
				t.Fatal(err)
			}
			sent[text] = half.ID
		}
		message := receive(t, consumer, 1, soon, 2*soon)[0]
		ack(t, consumer, message)
		if message.Text() != "to be committed" || message.ID != sent["to be committed"] {
			t.Errorf("received %q, %s", message.Text(), message.ID)
		}
		expectNothing(t, consumer, 2*await)
		mutex.Lock()
		defer mutex.Unlock()
		// A stock server asks once more when it has not yet noted the answer.
		if stock && asked["to be rolled back"] == 2 {
			asked["to be rolled back"] = 1
		}
		if asked["to be rolled back"] != 1 || asked["to be committed"] != 2 {
			t.Errorf("asked were %v", asked)
		}
		for text, id := range sent {
			if ids[text] != id {
				t.Errorf("%q was asked after as %s, sent was %s", text, ids[text], id)
			}
		}
	})
}
