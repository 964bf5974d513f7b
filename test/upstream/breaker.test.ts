import t from "tap";
import { UPSTREAM_LIMITS } from "../../server/limits.ts";
import { Breaker } from "../../server/upstream/breaker.ts";
import { RetryBudget } from "../../server/upstream/retry-budget.ts";

t.test("half of ten requests in ten seconds without an answer are too many", (t) => {
  let now = 1_000_000;
  const breaker = new Breaker(UPSTREAM_LIMITS, () => now);
  const ask = (succeeds: boolean): void => {
    breaker.started();
    if (succeeds) {
      breaker.succeeded();
    } else {
      breaker.failed(false);
    }
  };
  for (let pair = 0; pair < 4; pair += 1) {
    ask(true);
    ask(false);
  }
  t.ok(breaker.isClosed, "8 requests say nothing yet");
  ask(true);
  ask(false);
  t.notOk(breaker.isClosed);
  t.equal(breaker.waitMs, 5000);
  now += 5000;
  t.equal(breaker.waitMs, 0);
  ask(true);
  t.ok(breaker.isClosed);
  ask(false);
  t.ok(breaker.isClosed, "what was before counts no more");
  t.end();
});

t.test("failures of long ago are forgotten", (t) => {
  let now = 1_000_000;
  const breaker = new Breaker(UPSTREAM_LIMITS, () => now);
  for (let failure = 0; failure < 9; failure += 1) {
    breaker.started();
    breaker.failed(false);
  }
  now += 11_000;
  breaker.started();
  breaker.failed(false);
  t.ok(breaker.isClosed);
  t.end();
});

t.test("a probe that tells nothing leaves room for the next", (t) => {
  let now = 1_000_000;
  const breaker = new Breaker(UPSTREAM_LIMITS, () => now);
  for (let failure = 0; failure < 5; failure += 1) {
    breaker.started();
    breaker.failed(true);
  }
  now += 5000;
  breaker.started();
  t.not(breaker.waitMs, 0);
  breaker.abandoned();
  t.equal(breaker.waitMs, 0);
  t.end();
});

t.test("retries: a fifth of the requests, but ten in any case", (t) => {
  let now = 1_000_000;
  const budget = new RetryBudget(UPSTREAM_LIMITS, () => now);
  const spendAll = (): number => {
    let spent = 0;
    while (budget.spend()) {
      spent += 1;
    }
    return spent;
  };
  budget.requested();
  t.equal(spendAll(), 10);
  for (let request = 0; request < 199; request += 1) {
    budget.requested();
  }
  t.equal(spendAll(), 30, "200 requests: 40 in all");
  now += 10_000;
  t.equal(spendAll(), 10);
  t.end();
});
