package clients

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/admin"

	"apogee.test/clients/go/collector"
	"apogee.test/clients/go/remoting"
)

func TestTheAdminCreatesListsAndDeletesATopic(t *testing.T) {
	const queues = 6
	topic := unique("by-admin")
	broker, err := remoting.Master(shared.Nameserver, templateTopic)
	if err != nil {
		t.Fatal(err)
	}
	tool, ctx := newAdmin(t, shared), context.Background()
	err = tool.CreateTopic(ctx, admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(broker),
		admin.WithReadQueueNums(queues), admin.WithWriteQueueNums(queues))
	if err != nil {
		t.Fatal(err)
	}
	awaitRoute(t, shared, topic, soon)
	if found, err := tool.FetchPublishMessageQueues(ctx, topic); err != nil || len(found) != queues {
		t.Errorf("the topic has queues %v, %v", found, err)
	}
	if list, err := tool.FetchAllTopicList(ctx); err != nil || !slices.Contains(list.TopicList, topic) {
		t.Errorf("the topic is missing in the list: %v, %v", list, err)
	}

	if err := tool.DeleteTopic(ctx, admin.WithTopicDelete(topic), admin.WithBrokerAddrDelete(broker)); err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, "the route of the deleted topic being gone", func() bool {
		_, err := remoting.Master(shared.Nameserver, topic)
		return errors.Is(err, remoting.ErrNoRoute)
	})
}

func TestTheAdminListsTheGroupsOfRunningConsumers(t *testing.T) {
	topic, group := newTopic(t, shared, "groups"), unique("group")
	startConsumer(t, shared, group, topic, collector.New().Accept("only"))
	broker, err := remoting.Master(shared.Nameserver, topic)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := newAdmin(t, shared).GetAllSubscriptionGroup(context.Background(), broker, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	config, known := groups.SubscriptionGroupTable[group]
	if !known || config.GroupName != group || !config.ConsumeEnable {
		t.Errorf("the group is listed as %+v", config)
	}
}
