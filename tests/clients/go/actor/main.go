// The official Go client for remoting as an actor of the scenarios.
//
//	remoting-go NAMESERVER
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"

	"apogee.test/clients/acting"
)

const (
	// shardingKeyOfAll is the name of the sharding key for all but this client, which has its own.
	shardingKeyOfAll = "__SHARDINGKEY"

	deliverAt = "TIMER_DELIVER_MS"
)

func main() {
	if os.Getenv("ROCKETMQ_GO_LOG_LEVEL") == "" {
		rlog.SetLogLevel("fatal")
	}
	out := &acting.Output{}
	actor := &actor{nameserver: os.Args[1], events: acting.NewEvents(out)}
	acting.Serve(out, actor.events, actor.do)
	actor.stopAll()
}

// actor has the clients of one process by their names.
type actor struct {
	nameserver string
	events     *acting.Events

	stoppers      acting.Table[func() error]
	producers     acting.Table[rocketmq.Producer]
	transactional acting.Table[rocketmq.TransactionProducer]
	// outcomes of local transactions, by what the listener is called with.
	outcomes sync.Map
}

func (a *actor) do(order acting.Order) (acting.Report, error) {
	switch order.Do {
	case "start-producer":
		return acting.Report{}, a.startProducer(order)
	case "start-push":
		return acting.Report{}, a.startPush(order)
	case "stop":
		return acting.Report{}, a.stoppers.Take(order.Name)()
	case "send":
		result, err := a.producers.Find(order.Name).SendSync(context.Background(), toClient(order.Message))
		return sent(result, err)
	case "send-in-transaction":
		message := toClient(order.Message)
		a.outcomes.Store(message, order.Outcome)
		result, err := a.transactional.Find(order.Name).SendMessageInTransaction(context.Background(), message)
		if err != nil {
			return acting.Report{}, err
		}
		return sent(result.SendResult, nil)
	default:
		return acting.Report{}, fmt.Errorf("unknown order %q", order.Do)
	}
}

func sent(result *primitive.SendResult, err error) (acting.Report, error) {
	if err != nil {
		return acting.Report{}, err
	}
	if result.Status != primitive.SendOK {
		return acting.Report{}, fmt.Errorf("the send ended as %s", result)
	}
	return acting.Report{Sent: &acting.Sent{ID: result.MsgID}}, nil
}

func (a *actor) startProducer(order acting.Order) error {
	options := []producer.Option{
		producer.WithNameServer([]string{a.nameserver}), producer.WithInstanceName(order.Name),
		producer.WithGroupName(order.Group), producer.WithQueueSelector(producer.NewHashQueueSelector()),
	}
	if order.Checks {
		started, err := rocketmq.NewTransactionProducer(&listener{a, order.Name}, options...)
		if err != nil {
			return err
		}
		a.transactional.Keep(order.Name, started)
		a.stoppers.Keep(order.Name, started.Shutdown)
		return started.Start()
	}
	started, err := rocketmq.NewProducer(options...)
	if err != nil {
		return err
	}
	a.producers.Keep(order.Name, started)
	a.stoppers.Keep(order.Name, started.Shutdown)
	return started.Start()
}

// listener answers for local transactions as it was told.
type listener struct {
	actor *actor
	name  string
}

func (l *listener) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	outcome, _ := l.actor.outcomes.LoadAndDelete(message)
	return state(outcome.(acting.Outcome))
}

func (l *listener) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	return state(l.actor.events.Ask(l.name, fromClient(message)))
}

func state(outcome acting.Outcome) primitive.LocalTransactionState {
	switch outcome {
	case acting.Commit:
		return primitive.CommitMessageState
	case acting.Rollback:
		return primitive.RollbackMessageState
	default:
		return primitive.UnknowState
	}
}

func (a *actor) startPush(order acting.Order) error {
	started, err := rocketmq.NewPushConsumer(
		consumer.WithNameServer([]string{a.nameserver}), consumer.WithInstance(order.Name),
		consumer.WithGroupName(order.Group), consumer.WithConsumerOrder(order.Ordered),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset), consumer.WithConsumeMessageBatchMaxSize(1))
	if err != nil {
		return err
	}
	a.stoppers.Keep(order.Name, started.Shutdown)
	for _, to := range order.Subscriptions {
		selector := consumer.MessageSelector{Type: consumer.TAG, Expression: to.Expression}
		if to.SQL {
			selector.Type = consumer.SQL92
		}
		err := started.Subscribe(to.Topic, selector, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			if a.events.Ask(order.Name, fromClient(messages[0])) == acting.Success {
				return consumer.ConsumeSuccess, nil
			}
			if order.Ordered {
				return consumer.SuspendCurrentQueueAMoment, nil
			}
			return consumer.ConsumeRetryLater, nil
		})
		if err != nil {
			return err
		}
	}
	return started.Start()
}

func (a *actor) stopAll() {
	for _, stop := range a.stoppers.All() {
		_ = stop()
	}
}

func toClient(said *acting.Message) *primitive.Message {
	message := primitive.NewMessage(said.Topic, said.Body)
	if said.Tag != "" {
		message.WithTag(said.Tag)
	}
	if len(said.Keys) != 0 {
		message.WithKeys(said.Keys)
	}
	for name, value := range said.Properties {
		message.WithProperty(name, value)
	}
	if said.Group != "" {
		message.WithShardingKey(said.Group)
	}
	if said.DeliverAtMs != 0 {
		message.WithProperty(deliverAt, strconv.FormatInt(said.DeliverAtMs, 10))
	}
	if said.DelayLevel != 0 {
		message.WithDelayTimeLevel(said.DelayLevel)
	}
	return message
}

func fromClient(message *primitive.MessageExt) acting.Message {
	group := message.GetShardingKey()
	if group == "" {
		group = message.GetProperty(shardingKeyOfAll)
	}
	return acting.Message{
		Topic: message.Topic, Body: message.Body, Tag: message.GetTags(), Keys: strings.Fields(message.GetKeys()),
		Properties: message.GetProperties(), Group: group, ID: message.MsgId, Attempt: int(message.ReconsumeTimes) + 1,
		BornMs: message.BornTimestamp, AtMs: time.Now().UnixMilli(),
	}
}
