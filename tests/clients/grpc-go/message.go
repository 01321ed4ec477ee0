package main

import (
	"time"

	client "github.com/apache/rocketmq-clients/golang/v5"

	"apogee.test/clients/acting"
)

func toClient(m *acting.Message) *client.Message {
	message := &client.Message{Topic: m.Topic, Body: m.Body}
	if m.Tag != "" {
		message.SetTag(m.Tag)
	}
	message.SetKeys(m.Keys...)
	for key, value := range m.Properties {
		message.AddProperty(key, value)
	}
	if m.Group != "" {
		message.SetMessageGroup(m.Group)
	}
	if m.DeliverAtMs != 0 {
		message.SetDelayTimestamp(time.UnixMilli(m.DeliverAtMs))
	}
	return message
}

func fromClient(view *client.MessageView) acting.Message {
	message := acting.Message{
		Topic: view.GetTopic(), Body: view.GetBody(), Keys: view.GetKeys(), Properties: view.GetProperties(),
		ID: view.GetMessageId(), Attempt: int(view.GetDeliveryAttempt()), AtMs: time.Now().UnixMilli(),
	}
	if tag := view.GetTag(); tag != nil {
		message.Tag = *tag
	}
	if group := view.GetMessageGroup(); group != nil {
		message.Group = *group
	}
	if at := view.GetDeliveryTimestamp(); at != nil {
		message.DeliverAtMs = at.UnixMilli()
	}
	if born := view.GetBornTimestamp(); born != nil {
		message.BornMs = born.UnixMilli()
	}
	return message
}
