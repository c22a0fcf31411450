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
if encrypted "x" { stop; }
encrypt { stop; }
if encrypt { stop; }
if anyof (encrypted, not encrypt :force :try :hidesubject "me@domain.com") { stop; }
