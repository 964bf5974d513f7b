import t from "tap";
import { TargetPolicy } from "../../server/upstream/targets.ts";

const NOTHING = { tokenHosts: [], redirectHosts: [] };

t.test("a public registry may send us to public addresses only", (t) => {
  const policy = new TargetPolicy({ ...NOTHING, urls: ["https://registry-1.docker.io"] });
  for (const address of [
    "1.1.1.1",
    "8.8.8.8",
    "172.32.0.1",
    "2606:4700::1111",
    "64:ff9b::808:808",
  ]) {
    t.equal(policy.mayConnect("cdn.example", address), true, address);
  }
  for (const address of [
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "::",
    "0.0.0.0",
    "10.255.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "169.254.169.254",
    "100.127.255.255",
    "224.0.0.1",
    "255.255.255.255",
    "fe80::1",
    "fec0::1",
    "fdff::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "::ffff:7f00:1",
    "::127.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
  ]) {
    t.equal(policy.mayConnect("cdn.example", address), false, address);
  }
  t.equal(policy.mayConnect("registry-1.docker.io", "10.0.0.1"), true, "configured: our affair");
  t.end();
});

t.test("a registry on loopback may send us around on loopback, and no further", (t) => {
  for (const url of ["http://127.0.0.1:5000", "http://localhost:5000", "http://[::1]:5000"]) {
    const policy = new TargetPolicy({ ...NOTHING, urls: [url] });
    const from = new URL(url);
    t.equal(policy.refusalOf(new URL("http://localhost:1/"), from), undefined);
    t.equal(policy.refusalOf(new URL("http://127.0.0.1:2/"), from), undefined);
    t.match(policy.refusalOf(new URL("http://10.0.0.1/"), from), /private/);
  }
  t.end();
});

t.test("a registry with TLS cannot send us to one without", (t) => {
  const from = new URL("https://registry.example");
  const policy = new TargetPolicy({ ...NOTHING, urls: [from.href] });
  t.match(policy.refusalOf(new URL("http://registry.example/"), from), /leaves https/);
  t.match(policy.refusalOf(new URL("https://localhost/"), from), /this machine/);
  t.match(policy.refusalOf(new URL("https://LOCALHOST./"), from), /this machine/);
  t.match(policy.refusalOf(new URL("https://a.localhost/"), from), /this machine/);
  t.match(policy.refusalOf(new URL("https://a:b@cdn.example/"), from), /user name/);
  t.equal(policy.refusalOf(new URL("https://cdn.example/"), from), undefined);
  t.end();
});
