// The official Node.js client for gRPC as an actor of the scenarios.
//
//     node main.js HOST:PORT
'use strict';

const readline = require('node:readline');
const {
  ConsumeResult, FilterExpression, Producer, PushConsumer, SimpleConsumer,
} = require('rocketmq-client-nodejs');
const { FilterType, TransactionResolution } = require('rocketmq-client-nodejs/proto/apache/rocketmq/v2/definition_pb');

const GOODBYE_MS = 1000;

const options = { endpoints: process.argv[2], namespace: '' };
const clients = new Map();
const transactions = new Map();
const received = new Map();
const waiting = new Map();
let lastEvent = 0;
let lastReceipt = 0;

function say(report) {
  process.stdout.write(JSON.stringify(report) + '\n');
}

// Tells that the client of this name was called with the message, and waits for what is to be answered.
function ask(name, view) {
  const event = ++lastEvent;
  return new Promise(resolve => {
    waiting.set(event, resolve);
    say({ event, name, message: fromClient(view) });
  });
}

async function start(order, client) {
  clients.set(order.name, client);
  await client.startup();
}

const orders = {
  'start-producer': order => start(order, new Producer({
    ...options, topics: order.topics, checker: order.checks ? checker(order.name) : undefined,
  })),
  'start-simple': order => start(order, new SimpleConsumer({
    ...options, consumerGroup: order.group, subscriptions: filters(order), awaitDuration: order.await_ms,
  })),
  'start-push': order => start(order, new PushConsumer({
    ...options, consumerGroup: order.group, subscriptions: filters(order), messageListener: {
      consume: async view => (await ask(order.name, view)) === 'success' ? ConsumeResult.SUCCESS : ConsumeResult.FAILURE,
    },
  })),
  async stop(order) {
    await clients.get(order.name).shutdown();
    clients.delete(order.name);
  },
  async send(order) {
    return sent(await clients.get(order.name).send(toClient(order.message)));
  },
  async 'send-half'(order) {
    const producer = clients.get(order.name);
    const transaction = producer.beginTransaction();
    transactions.set(order.transaction, transaction);
    return sent(await producer.send(toClient(order.message), transaction));
  },
  async end(order) {
    const transaction = transactions.get(order.transaction);
    await (order.outcome === 'commit' ? transaction.commit() : transaction.rollback());
  },
  async recall(order) {
    return { sent: { id: (await clients.get(order.name).recallMessage(order.topic, order.handle)).messageId } };
  },
  async receive(order) {
    const views = await clients.get(order.name).receive(order.max, order.invisible_ms);
    return {
      messages: views.map(view => {
        const receipt = String(++lastReceipt);
        received.set(receipt, view);
        return { ...fromClient(view), receipt };
      }),
    };
  },
  ack: order => clients.get(order.name).ack(received.get(order.receipt)).then(() => ({})),
  'change-invisible': order => clients.get(order.name)
    .changeInvisibleDuration(received.get(order.receipt), order.invisible_ms ?? 0),
};

function checker(name) {
  return {
    async check(view) {
      switch (await ask(name, view)) {
        case 'commit': return TransactionResolution.COMMIT;
        case 'rollback': return TransactionResolution.ROLLBACK;
        default: return TransactionResolution.TRANSACTION_RESOLUTION_UNSPECIFIED;
      }
    },
  };
}

function filters(order) {
  return new Map(order.subscriptions.map(({ topic, sql, expression }) =>
    [topic, new FilterExpression(expression, sql ? FilterType.SQL : FilterType.TAG)]));
}

function sent(receipt) {
  return { sent: { id: receipt.messageId, recall_handle: receipt.recallHandle } };
}

function toClient(said) {
  return {
    topic: said.topic, body: Buffer.from(said.body, 'base64'), tag: said.tag, keys: said.keys, messageGroup: said.group,
    properties: new Map(Object.entries(said.properties ?? {})),
    deliveryTimestamp: said.deliver_at_ms ? new Date(said.deliver_at_ms) : undefined,
  };
}

function fromClient(view) {
  return {
    topic: view.topic, body: view.body.toString('base64'), tag: view.tag, keys: view.keys, group: view.messageGroup,
    properties: Object.fromEntries(view.properties), deliver_at_ms: view.deliveryTimestamp?.getTime(), id: view.messageId,
    attempt: view.deliveryAttempt, born_ms: view.bornTimestamp?.getTime(), at_ms: Date.now(),
  };
}

async function perform(order) {
  try {
    say({ id: order.id, ...await orders[order.do](order) });
  } catch (error) {
    say({ id: order.id, error: { code: typeof error.code === 'number' ? error.code : 0, text: String(error) } });
  }
}

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', line => {
  const order = JSON.parse(line);
  if (order.do === 'outcome') {
    waiting.get(order.event)(order.outcome);
    waiting.delete(order.event);
  } else {
    perform(order);
  }
});
lines.on('close', () => {
  for (const client of clients.values()) {
    client.shutdown().catch(() => {});
  }
  setTimeout(() => process.exit(0), GOODBYE_MS);
});
