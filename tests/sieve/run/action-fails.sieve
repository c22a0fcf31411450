# An action that fails ends the script, and nothing of it is done.
require ["vnd.perot.encrypt", "fileinto"];
fileinto "in front";
encrypt "nobody@t.org";
fileinto "behind";
