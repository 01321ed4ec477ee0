package scenarios

import "testing"

func TestOnePortServesTLSToo(t *testing.T) {
	forEach(t, func(who client) bool { return who.skipsCertificateCheck }, func(t *testing.T, who client) {
		topic, group := newTopic(t, shared, "NORMAL"), newGroup(t, shared)
		encrypted, plain := playAlone(t, who, shared, "tls"), play(t, who)
		received := newInbox()
		newPush(t, encrypted, newGroup(t, shared), received.accept, all(topic))
		sendTexts(t, newProducer(t, encrypted, topic), topic, "encrypted")
		sendTexts(t, newProducer(t, plain, topic), topic, "plain")
		received.awaitTexts(t, soon, "encrypted", "plain")
		receiveAndAck(t, newSimple(t, who, encrypted, group, all(topic)), "encrypted", "plain")
	})
}
