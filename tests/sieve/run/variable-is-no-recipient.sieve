# What comes out of a message is not quoted in the log.
require ["vnd.perot.encrypt", "variables"];
if header :matches "Subject" "*" { set "subject" "${1}"; }
encrypt "${subject}";
