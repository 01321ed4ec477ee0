package scenarios

import (
	"bytes"
	"maps"
	"slices"
	"testing"
	"time"

	"apogee.test/clients/scenarios/actor"
)

// largeBody is below the smallest limit of a client: Go sends 2 MiB at most.
const largeBody = 3 << 19

// everyByte is no text in any encoding.
func everyByte() []byte {
	body := make([]byte, 256)
	for value := range body {
		body[value] = byte(value)
	}
	return body
}

func TestAMessageArrivesAsItWasSent(t *testing.T) {
	forEach(t, offersSimple, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "NORMAL"), newGroup(t, shared)
		by := play(t, who)
		producer, consumer := newProducer(t, by, topic), newSimple(t, who, by, group, all(topic))
		for _, message := range []actor.Message{
			{Topic: topic, Body: everyByte(), Tag: "paid", Keys: []string{"order-17", "user-4"},
				Properties: map[string]string{"region": "eu", "Grüße": "ça va – ☃", "UPPER": "x", "price": "12.50"}},
			{Topic: topic, Body: []byte("nothing but a body")},
			{Topic: topic, Body: bytes.Repeat([]byte("large"), largeBody/5)},
		} {
			before := time.Now()
			sent := send(t, producer, message)
			received := receive(t, consumer, 1, invisible, soon)[0]
			checkSame(t, received, message, sent)
			if received.Attempt != 1 {
				t.Errorf("the first delivery is attempt %d", received.Attempt)
			}
			// Some clients tell whole seconds.
			born := time.UnixMilli(received.BornMs)
			if born.Before(before.Truncate(time.Second)) || born.After(time.Now()) {
				t.Errorf("sent after %v and born %v", before, born)
			}
			ack(t, consumer, received)
		}
	})
}

// checkSame complains of whatever differs between a message and what was received of it.
func checkSame(t *testing.T, received, message actor.Message, sent actor.Sent) {
	t.Helper()
	if received.Topic != message.Topic || received.Tag != message.Tag || received.Group != message.Group {
		t.Errorf("received topic %q tag %q group %q, sent was topic %q tag %q group %q",
			received.Topic, received.Tag, received.Group, message.Topic, message.Tag, message.Group)
	}
	if !bytes.Equal(received.Body, message.Body) {
		t.Errorf("received the body %.100q, sent was %.100q", received.Body, message.Body)
	}
	if received.ID != sent.ID {
		t.Errorf("received message %s, sent was %s", received.ID, sent.ID)
	}
	if got, want := slices.Sorted(slices.Values(received.Keys)), slices.Sorted(slices.Values(message.Keys)); !slices.Equal(got, want) {
		t.Errorf("received the keys %q, sent were %q", got, want)
	}
	properties := maps.Clone(received.Properties)
	if stock {
		// Properties of the server's own that are not hidden from clients.
		for _, name := range []string{"__transactionId__", "__SHARDINGKEY", "TRACE_CONTEXT", "TRANSACTION_CHECK_TIMES"} {
			delete(properties, name)
		}
	}
	if !maps.Equal(properties, message.Properties) {
		t.Errorf("received the properties %q, sent were %q", received.Properties, message.Properties)
	}
}
