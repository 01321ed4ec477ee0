package remoting

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

const (
	// templateTopic leads to a broker before any topic of a test exists.
	templateTopic = "TBW102"

	// 2 to write and 4 to read.
	permissionReadWrite = 6

	routeWithin   = 10 * time.Second
	routeInterval = 20 * time.Millisecond
)

// Topic is what CreateTopic makes.
type Topic struct {
	Name   string
	Queues int
	// Type is NORMAL, FIFO, DELAY, TRANSACTION or MIXED.
	Type string
}

// Group is what CreateGroup makes.
type Group struct {
	Name string
	// Ordered groups get one batch of a queue at a time.
	Ordered bool
	// Retries is how often a message is delivered again before it becomes a dead letter.
	Retries int
	// ExponentialBackoff is the retry policy that starts at 5 s and doubles; otherwise there is a table
	// that starts with 1 s, 5 s, 10 s.
	ExponentialBackoff bool
}

// CreateTopic makes a topic and returns once the nameserver knows its route.
func CreateTopic(nameserver string, topic Topic) error {
	broker, err := Master(nameserver, templateTopic)
	if err != nil {
		return err
	}
	queues := strconv.Itoa(topic.Queues)
	err = demand(broker, createTopic, map[string]string{
		"topic": topic.Name, "defaultTopic": templateTopic, "readQueueNums": queues, "writeQueueNums": queues,
		"perm": strconv.Itoa(permissionReadWrite), "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0",
		"order": "false", "attributes": "+message.type=" + topic.Type,
	}, nil)
	if err != nil {
		return fmt.Errorf("creating topic %s: %w", topic.Name, err)
	}
	for deadline := time.Now().Add(routeWithin); ; time.Sleep(routeInterval) {
		if _, err = Master(nameserver, topic.Name); err == nil {
			return nil
		}
		if !errors.Is(err, ErrNoRoute) || time.Now().After(deadline) {
			return fmt.Errorf("created topic %s: %w", topic.Name, err)
		}
	}
}

// CreateGroup makes a consumer group.
func CreateGroup(nameserver string, group Group) error {
	broker, err := Master(nameserver, templateTopic)
	if err != nil {
		return err
	}
	policy := map[string]any{"type": "CUSTOMIZED"}
	if group.ExponentialBackoff {
		policy = map[string]any{"type": "EXPONENTIAL", "exponentialRetryPolicy": map[string]any{
			"initial": 5000, "max": 7_200_000, "multiplier": 2,
		}}
	}
	config, err := json.Marshal(map[string]any{
		"groupName": group.Name, "consumeEnable": true, "consumeFromMinEnable": true, "consumeBroadcastEnable": true,
		"consumeMessageOrderly": group.Ordered, "retryQueueNums": 1, "retryMaxTimes": group.Retries,
		"groupRetryPolicy": policy, "brokerId": 0, "whichBrokerWhenConsumeSlowly": 1,
		"notifyConsumerIdsChangedEnable": true, "groupSysFlag": 0, "consumeTimeoutMinute": 15,
	})
	if err != nil {
		return err
	}
	if err := demand(broker, createGroup, nil, config); err != nil {
		return fmt.Errorf("creating group %s: %w", group.Name, err)
	}
	return nil
}

func demand(broker string, code int, fields map[string]string, body []byte) error {
	reply, err := callWithBody(broker, code, fields, body)
	if err != nil {
		return err
	}
	if reply.Code != Success {
		return fmt.Errorf("code %d, %s", reply.Code, reply.Remark)
	}
	return nil
}
