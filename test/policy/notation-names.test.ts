import t from "tap";
import {
  checkTrustedSubject,
  formatDistinguishedName,
  parseDistinguishedName,
} from "../../server/policy/notation/distinguished-name.ts";

t.test("names are read as people write them", async (t) => {
  const names: [text: string, ...attributes: [type: string, value: string][]][] = [
    ["C=US, O=acme", ["C", "US"], ["O", "acme"]],
    ["c=US,o = acme inc ", ["C", "US"], ["O", "acme inc"]],
    ["S=WA", ["ST", "WA"]],
    ["emailAddress=a@b.example", ["E", "a@b.example"]],
    ["O=acme\\, inc, OU=a\\;b\\\\", ["O", "acme, inc"], ["OU", "a;b\\"]],
    ['O="acme, inc; \\"x\\" + y", C=US', ["O", 'acme, inc; "x" + y'], ["C", "US"]],
    ["CN=\\ acme\\ ", ["CN", " acme "]],
    ["CN=\\#1", ["CN", "#1"]],
    ["CN=Zo\\C3\\AB", ["CN", "Zoë"]],
    ["CN=a=b", ["CN", "a=b"]],
    ["CN=東京", ["CN", "東京"]],
  ];
  for (const [text, ...attributes] of names) {
    const expected = attributes.map(([type, value]) => ({ type, value }));
    t.same(parseDistinguishedName(text), expected, text);
    const written = formatDistinguishedName(expected);
    t.same(parseDistinguishedName(written), expected, `${text} survives being written`);
  }
});

t.test("a subject that could mislead is refused when the configuration is read", async (t) => {
  const subjects: [text: string, problem: RegExp][] = [
    ["", /empty attribute/],
    ["C=US,", /empty attribute/],
    ["acme", /"acme" where an attribute=value/],
    ["C=US, acme", /"acme" where an attribute=value/],
    ["O=", /no value for O/],
    ["O= , C=US", /no value for O/],
    ["X=1", /attribute "X", which is none of C, ST, L, O/],
    ["2.5.4.6=US", /attribute "2.5.4.6"/],
    ["O=#0c0141", /hexadecimal/],
    ["O=a, O=b", /O twice/],
    ["ST=a, S=b", /ST twice/],
    ["O=a+OU=b", /\+ in O: escape/],
    ["O=a;C=US", /; in O: escape/],
    ["O=a\\", /\\ in O/],
    ["O=a\\x", /\\ in O/],
    ['O="a', /" in O/],
    ['O="a"b', /quotes around a part/],
    ['O="\\x"', /escapes nothing/],
    ["O=a\\00", /control character/],
    ["O=a\nb", /control character/],
    ["O=\\FF", /not UTF-8/],
    ["O=\ud800", /well-formed/],
    ["x509.subject: C=US, O=acme", /x509.subject:, which is left out/],
    [`O=${"a".repeat(1023)}`, /longer than 1024/],
  ];
  for (const [text, problem] of subjects) {
    t.match(checkTrustedSubject(text), problem, text.slice(0, 40));
  }
  t.equal(checkTrustedSubject("*"), undefined, "any leaf");
  t.equal(checkTrustedSubject("C=US, O=acme"), undefined);
});

t.test("a name cannot forge another one when it is written", async (t) => {
  const name = [{ type: "CN", value: 'a, O=acme\r\nX-Header: "1"\u202e' }];
  const text = formatDistinguishedName(name);
  t.equal(text, 'CN=a\\, O=acme\\0d\\0aX-Header: \\"1\\"\\e2\\80\\ae');
});
