# How the commands are written.
require "vnd.perot.encrypt";
encrypt 1;
encrypt "me@domain.com" "you@domain.com";
encrypt :strong;
encrypt :try :try;
encrypted;
encrypt ["a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org",
    "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org",
    "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org",
    "a@t.org", "a@t.org", "a@t.org", "a@t.org"];
encrypt :also ["a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org",
    "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org"]
    ["a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org",
    "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org"];
encrypt :also;
encrypt :also 1;
encrypt :also "me@domain.com" :also "me@domain.com";
encrypt :also "me@domain.com" "me@domain.com" "you@domain.com";
if encrypted "x" { stop; }
encrypt { stop; }
if encrypt { stop; }
if anyof (encrypted, not encrypt :force :try :hidesubject :smime :also "{me}" "me@domain.com") { stop; }
