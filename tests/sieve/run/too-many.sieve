# Told when a script is uploaded. A script that was there before is not refused: that would store mail in clear.
require "vnd.perot.encrypt";
encrypt ["a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org",
    "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org",
    "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org", "a@t.org",
    "a@t.org", "a@t.org", "a@t.org", "a@t.org"];
