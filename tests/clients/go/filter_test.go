package clients

import (
	"fmt"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"apogee.test/clients/go/collector"
)

func TestAConsumerGetsOnlyTheTagsItAskedFor(t *testing.T) {
	topic := newTopic(t, shared, "tags")
	received := collector.New()
	choosy := newConsumer(t, shared, unique("group"))
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: "red || blue"}
	if err := choosy.Subscribe(topic, selector, received.Accept("choosy")); err != nil {
		t.Fatal(err)
	}
	if err := choosy.Start(); err != nil {
		t.Fatal(err)
	}

	sender := newProducer(t, shared)
	wanted := []string{}
	for number := range 10 * queueCount {
		for _, tag := range []string{"red", "blue", "green", "RED", "redblue", ""} {
			text := fmt.Sprintf("%s %d", tag, number)
			message := primitive.NewMessage(topic, []byte(text))
			if tag != "" {
				message.WithTag(tag)
			}
			send(t, sender, message)
			if tag == "red" || tag == "blue" {
				wanted = append(wanted, text)
			}
		}
	}
	for text, count := range collector.CountTexts(received.AwaitTexts(t, soon, wanted...)) {
		var tag string
		_, _ = fmt.Sscan(text, &tag)
		if (tag != "red" && tag != "blue") || count != 1 {
			t.Errorf("%q was received %d times", text, count)
		}
	}
}

// Both tags have the Java hash 2031744. The broker may let both pass; the client compares the text.
func TestTagsWithTheSameHashAreToldApart(t *testing.T) {
	topic := newTopic(t, shared, "same-hash")
	received := collector.New()
	choosy := newConsumer(t, shared, unique("group"))
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: "AaAa"}
	if err := choosy.Subscribe(topic, selector, received.Accept("choosy")); err != nil {
		t.Fatal(err)
	}
	if err := choosy.Start(); err != nil {
		t.Fatal(err)
	}
	sender := newProducer(t, shared)
	wanted := []string{}
	for number := range 2 * queueCount {
		for _, tag := range []string{"BBBB", "AaAa"} {
			text := fmt.Sprintf("%s %d", tag, number)
			send(t, sender, primitive.NewMessage(topic, []byte(text)).WithTag(tag))
			if tag == "AaAa" {
				wanted = append(wanted, text)
			}
		}
	}
	if deliveries := received.AwaitTexts(t, soon, wanted...); len(deliveries) != len(wanted) {
		t.Errorf("%d messages were received, %d have the tag", len(deliveries), len(wanted))
	}
}
