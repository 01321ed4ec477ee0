package clients

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"apogee.test/clients/go/collector"
	"apogee.test/clients/go/remoting"
)

var sendResultText = regexp.MustCompile(`^SendResult \[sendStatus=0, msgIds=[0-9A-Fa-f]{32}, offsetMsgId=[0-9A-F]{32}, ` +
	`queueOffset=\d+, messageQueue=MessageQueue \[topic=[-\w]+, brokerName=[-\w]+, queueId=\d+\]\]$`)

func TestTheFirstSendCreatesTheTopicAndNamesQueueOffsetAndIds(t *testing.T) {
	topic := unique("first-send")
	sender := newProducer(t, shared)
	first := send(t, sender, primitive.NewMessage(topic, []byte("first")))

	if text := first.String(); !sendResultText.MatchString(text) {
		t.Errorf("unexpected text of a send result: %s", text)
	}
	if first.QueueOffset != 0 {
		t.Errorf("the first message of the queue has offset %d", first.QueueOffset)
	}
	id, err := primitive.UnmarshalMsgID([]byte(first.OffsetMsgID))
	if err != nil {
		t.Fatalf("offset message id %q: %v", first.OffsetMsgID, err)
	}
	broker, err := remoting.Master(shared.Nameserver, topic)
	if err != nil {
		t.Fatal(err)
	}
	if stored := fmt.Sprintf("%s:%d", id.Addr, id.Port); stored != broker {
		t.Errorf("offset message id %s names broker %s, the route names %s", first.OffsetMsgID, stored, broker)
	}

	offsets := map[int]int64{first.MessageQueue.QueueId: first.QueueOffset}
	for range 2*queueCount - 1 {
		next := send(t, sender, primitive.NewMessage(topic, []byte("next")))
		queue := next.MessageQueue.QueueId
		if last, known := offsets[queue]; known && next.QueueOffset != last+1 {
			t.Errorf("queue %d: offset %d follows %d", queue, next.QueueOffset, last)
		}
		offsets[queue] = next.QueueOffset
	}
	if len(offsets) != queueCount {
		t.Errorf("the new topic has queues %v, want %d of them", offsets, queueCount)
	}
}

func TestTheConsumerSeesTheMessageAsItWasSent(t *testing.T) {
	topic := newTopic(t, shared, "as-sent")
	received := collector.New()
	startConsumer(t, shared, unique("group"), topic, received.Accept("only"))

	message := primitive.NewMessage(topic, []byte("body with ünïcode and \x00 bytes"))
	message.WithTag("green").WithKeys([]string{"order-1", "order-2"}).WithShardingKey("customer-7")
	message.WithProperty("colour", "grün")
	message.Flag = 17
	before := time.Now()
	result := send(t, newProducer(t, shared), message)
	delivery := received.Find(t, soon, string(message.Body))

	check := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	check("topic", delivery.Topic, topic)
	check("tag", delivery.GetTags(), "green")
	check("keys", delivery.GetKeys(), "order-1 order-2")
	check("sharding key", delivery.GetShardingKey(), "customer-7")
	check("user property", delivery.GetProperty("colour"), "grün")
	check("flag", delivery.Flag, int32(17))
	check("message id", delivery.MsgId, result.MsgID)
	check("offset message id", delivery.OffsetMsgId, result.OffsetMsgID)
	check("queue", delivery.Queue.QueueId, result.MessageQueue.QueueId)
	check("queue offset", delivery.QueueOffset, result.QueueOffset)
	check("reconsume times", delivery.ReconsumeTimes, int32(0))
	check("minimum offset", delivery.GetProperty(primitive.PropertyMinOffset), "0")
	check("maximum offset", delivery.GetProperty(primitive.PropertyMaxOffset), strconv.FormatInt(result.QueueOffset+1, 10))
	if born := time.UnixMilli(delivery.BornTimestamp); born.Before(before.Truncate(time.Millisecond)) || time.Now().Before(born) {
		t.Errorf("born at %v, sent at %v", born, before)
	}
	if delivery.StoreTimestamp < delivery.BornTimestamp {
		t.Errorf("stored at %d before it was born at %d", delivery.StoreTimestamp, delivery.BornTimestamp)
	}
	if broker, _ := remoting.Master(shared.Nameserver, topic); delivery.StoreHost != broker {
		t.Errorf("store host %s, want %s", delivery.StoreHost, broker)
	}
}

func TestAsyncSendsCallBackAndArrive(t *testing.T) {
	const count = 100
	topic := newTopic(t, shared, "async")
	sender := newProducer(t, shared)
	received := collector.New()
	startConsumer(t, shared, unique("group"), topic, received.Accept("only"))

	var answers sync.WaitGroup
	texts := make([]string, count)
	for number := range texts {
		texts[number] = fmt.Sprintf("async %d", number)
		answers.Add(1)
		err := sender.SendAsync(context.Background(), func(_ context.Context, result *primitive.SendResult, err error) {
			defer answers.Done()
			if err != nil || !sendResultText.MatchString(result.String()) {
				t.Errorf("message %d: %v, %v", number, result, err)
			}
		}, primitive.NewMessage(topic, []byte(texts[number])))
		if err != nil {
			t.Fatal(err)
		}
	}
	answers.Wait()
	received.AwaitTexts(t, soon, texts...)
}

func TestOnewayMessagesArrive(t *testing.T) {
	topic := newTopic(t, shared, "oneway")
	sender := newProducer(t, shared)
	texts := []string{"oneway 1", "oneway 2", "oneway 3"}
	for _, text := range texts {
		if err := sender.SendOneWay(context.Background(), primitive.NewMessage(topic, []byte(text))); err != nil {
			t.Fatal(err)
		}
	}
	received := collector.New()
	startConsumer(t, shared, unique("group"), topic, received.Accept("only"))
	received.AwaitTexts(t, soon, texts...)
}

func TestABatchArrivesAsMessagesWithTheirOwnProperties(t *testing.T) {
	topic := newTopic(t, shared, "batch")
	texts := []string{"batch 0", "batch 1", "batch 2"}
	messages := make([]*primitive.Message, len(texts))
	for number, text := range texts {
		messages[number] = primitive.NewMessage(topic, []byte(text)).WithTag(fmt.Sprintf("tag%d", number))
		messages[number].WithProperty("number", strconv.Itoa(number))
	}
	result, err := newProducer(t, shared).SendSync(context.Background(), messages...)
	if err != nil || result.Status != primitive.SendOK {
		t.Fatalf("%v, %v", result, err)
	}
	if ids := strings.Split(result.OffsetMsgID, ","); len(ids) != len(texts) {
		t.Errorf("%d messages got offset message ids %q", len(texts), result.OffsetMsgID)
	}

	received := collector.New()
	startConsumer(t, shared, unique("group"), topic, received.Accept("only"))
	for number, text := range texts {
		delivery := received.Find(t, soon, text)
		if got := delivery.GetTags(); got != fmt.Sprintf("tag%d", number) {
			t.Errorf("%s has tag %q", text, got)
		}
		if got := delivery.GetProperty("number"); got != strconv.Itoa(number) {
			t.Errorf("%s has number %q", text, got)
		}
		if got, want := delivery.QueueOffset, result.QueueOffset+int64(number); got != want {
			t.Errorf("%s has queue offset %d, want %d", text, got, want)
		}
		if delivery.Queue.QueueId != result.MessageQueue.QueueId {
			t.Errorf("%s is in queue %d, the batch went to %d", text, delivery.Queue.QueueId, result.MessageQueue.QueueId)
		}
		if !strings.Contains(result.OffsetMsgID, delivery.OffsetMsgId) {
			t.Errorf("%s has offset message id %s, the batch got %s", text, delivery.OffsetMsgId, result.OffsetMsgID)
		}
	}
}

// The client compresses bodies from 4 KiB on.
func TestLargeBodiesArriveWhole(t *testing.T) {
	noise := make([]byte, 1<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(noise)
	bodies := map[string][]byte{
		"just not compressed":   bytes.Repeat([]byte{'a'}, 4095),
		"just compressed":       bytes.Repeat([]byte{'b'}, 4096),
		"well compressible":     bytes.Repeat([]byte("the same again, "), 64<<10),
		"not compressible":      noise,
		"near the size allowed": bytes.Repeat([]byte("0123456789abcdef"), (4<<20)/16-64),
	}
	topic := newTopic(t, shared, "large")
	sender := newProducer(t, shared)
	for name, body := range bodies {
		message := primitive.NewMessage(topic, body)
		message.WithProperty("name", name)
		send(t, sender, message)
	}
	received := collector.New()
	startConsumer(t, shared, unique("group"), topic, received.Accept("only"))
	deliveries := received.Await(t, soon, "all bodies", func(deliveries []collector.Delivery) bool {
		return len(deliveries) == len(bodies)
	})
	for _, delivery := range deliveries {
		name := delivery.GetProperty("name")
		if !bytes.Equal(delivery.Body, bodies[name]) {
			t.Errorf("%s: %d bytes were sent, others (%d) received", name, len(bodies[name]), len(delivery.Body))
		}
		if compressed := delivery.SysFlag&primitive.FlagCompressed != 0; compressed != (len(bodies[name]) >= 4096) {
			t.Errorf("%s: %d bytes, compressed: %v", name, len(bodies[name]), compressed)
		}
	}
}
